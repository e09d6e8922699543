//! The settings of servers under test.

use std::time::Duration;

use afforo::{
    config::{ApiAuth, ApiAuthSetting, HttpSettings, RateSettings, RedisSettings},
    server::Limits,
};

/// The settings of a production server, without the rate limit, which most tests exceed.
pub fn production() -> HttpSettings {
    HttpSettings {
        debug: false,
        secret_key: Some("a long and random text of the tests".into()),
        allowed_hosts: "localhost,127.0.0.1".parse().unwrap(),
        cors_allowed_origins: "http://localhost:3000,http://127.0.0.1:3000".parse().unwrap(),
        rate_limit_enabled: false,
        trusted_proxies: "".parse().unwrap(),
        api_auth: ApiAuthSetting(Some(ApiAuth::Off)),
        rates: RateSettings::default(),
    }
}

/// The Redis settings of tests.
pub fn redis_at(url: &str) -> RedisSettings {
    RedisSettings {
        redis_url: Some(url.to_owned().into()),
        redis_pool_size: 2,
        redis_key_prefix: String::new(),
    }
}

/// The default limits, with a long timeout for rate limits, because the machine may be busy.
pub fn patient() -> Limits {
    Limits {
        rate_limit: Duration::from_secs(10),
        ..Limits::default()
    }
}
