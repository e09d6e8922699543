//! A headless Chromium of a test's own.

use std::{net::SocketAddr, sync::OnceLock, thread};

use fantoccini::{Client, ClientBuilder, error::CmdError};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    devtools,
    driver::{Driver, chromium},
    verdict,
};

/// The width of a telephone, in pixels.
pub const PHONE: u32 = 390;
/// The width of a desk.
pub const WIDE: u32 = 1280;

/// Which colours the viewer prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Light,
    Dark,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// A browser on one server. It has to be closed with [`Browser::close`], which looks into its logs.
pub struct Browser {
    pub client: Client,
    /// The server's address, as in `http://127.0.0.1:8000`.
    pub origin: String,
    is_closed: bool,
    expected: Vec<&'static str>,
    // Fields are dropped in this order: the next browser starts when this one has ended.
    _driver: Driver,
    _turn: SemaphorePermit<'static>,
}

/// Whatever Chromium would do besides showing our pages, it does not.
const FLAGS: [&str; 14] = [
    "--headless=new",
    // Our own pages on a loopback address; containers and root have no sandbox.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    "--hide-scrollbars",
    "--lang=en-US",
    // It ends with chromedriver, however that ends.
    "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

impl Browser {
    /// Opens a browser as wide as a desk, which prefers light colours.
    pub async fn open(server: SocketAddr) -> Self {
        let turn = turns().acquire().await.unwrap();
        let driver = Driver::start().await;
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={}", driver.profile().display()));
        let capabilities = json!({
            "goog:chromeOptions": {
                "binary": chromium(),
                "args": flags,
                // Begins without the browser's own page, which is heavier than ours.
                "prefs": { "session.restore_on_startup": 4, "session.startup_urls": ["about:blank"] },
                "perfLoggingPrefs": { "enableNetwork": true, "enablePage": false },
            },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(serde_json::from_value(capabilities).unwrap())
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .expect("a Chromium starts");
        let browser = Self {
            client,
            origin: format!("http://{server}"),
            is_closed: false,
            expected: Vec::new(),
            _driver: driver,
            _turn: turn,
        };
        browser.width(WIDE).await;
        browser
    }

    /// Makes the page exactly this wide. What is as narrow as a telephone is one.
    pub async fn width(&self, width: u32) {
        let is_phone = width < 600;
        let height = if is_phone { 844 } else { 800 };
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone });
        self.cdp("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Sets which colours the viewer prefers.
    pub async fn prefers(&self, scheme: Scheme) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme.name() }]);
        self.cdp("Emulation.setEmulatedMedia", json!({ "features": features }))
            .await;
    }

    /// Shows pages as a printer gets them.
    pub async fn prints(&self) {
        self.cdp("Emulation.setEmulatedMedia", json!({ "media": "print" }))
            .await;
    }

    /// Turns JavaScript off for all pages from here on. What the tests themselves execute still works.
    pub async fn without_scripts(&self) {
        self.cdp("Emulation.setScriptExecutionDisabled", json!({ "value": true }))
            .await;
    }

    /// An entry of the log that contains `text` is no fault.
    pub fn expects(&mut self, text: &'static str) {
        self.expected.push(text);
    }

    /// Closes the browser, and asserts that it has nothing to complain about and talked to nobody but the server.
    pub async fn close(mut self) {
        let (complaints, foreign) = self.verdict().await;
        self.is_closed = true;
        self.client.clone().close().await.unwrap();
        assert_eq!(complaints, Vec::<String>::new(), "the browser's log");
        assert_eq!(foreign, Vec::<String>::new(), "requests to others");
    }

    /// What the browser complained of, and what it asked of others, since this was last asked.
    pub async fn verdict(&self) -> (Vec<String>, Vec<String>) {
        let console = devtools::log(&self.client, "browser").await.unwrap();
        let traffic = devtools::log(&self.client, "performance").await.unwrap();
        (
            verdict::complaints(&console, &self.expected),
            verdict::foreign(&traffic, &self.origin),
        )
    }

    pub(super) async fn cdp(&self, command: &'static str, parameters: Value) -> Value {
        devtools::cdp(&self.client, command, parameters).await.unwrap()
    }

    /// The value of a script. It runs even where the pages' own do not.
    pub async fn evaluate(&self, script: &str) -> Result<Value, CmdError> {
        self.client.execute(&format!("return {script}"), Vec::new()).await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        assert!(self.is_closed || thread::panicking(), "a test ends with `close`");
    }
}

/// A browser is several processes that all have something to do: two at a time, or as many as there are cores, up to four.
fn turns() -> &'static Semaphore {
    static TURNS: OnceLock<Semaphore> = OnceLock::new();
    TURNS.get_or_init(|| {
        let cores = thread::available_parallelism().map_or(2, usize::from);
        Semaphore::new(cores.clamp(2, 4))
    })
}
