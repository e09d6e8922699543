//! On whose behalf a request is made, and where it came from.

use std::{net::IpAddr, sync::Arc};

use crate::{access::Grant, audit::Signature};

/// On whose behalf a request is made. It is an extension of a request that somebody has looked at already.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who that is, and what they are granted.
    pub grant: Arc<Grant>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The request, by `X-Request-Id`.
    pub request_id: Option<String>,
}

impl Caller {
    /// Under whose name the request does something.
    #[must_use]
    pub fn signature(&self) -> Signature {
        Signature {
            who: self.grant.who.clone(),
            address: self.address,
            request_id: self.request_id.clone(),
        }
    }
}
