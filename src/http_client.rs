//! The HTTP client for webhooks, trace export and health checks.

use std::{error::Error, sync::Arc};

use reqwest::{Client, ClientBuilder, redirect::Policy};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::error_chain;

/// A client that trusts Mozilla's certificate authorities, follows no redirects, and ignores proxies in the environment.
pub fn builder() -> ClientBuilder {
    let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("afforo/", env!("CARGO_PKG_VERSION")))
}

/// The causes of an error, without the URL, which may hold a secret.
pub fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    error
        .source()
        .map_or_else(|| error.to_string(), error_chain::text)
}
