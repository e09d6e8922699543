//! chromedriver, in a process group of its own that ends with the test, however that ends.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::PATIENCE;

/// The shell blocks on a pipe that only we hold. When we close it, or the system does because we were killed, the shell
/// ends its whole group: itself, chromedriver, and the browser.
const SUPERVISOR: &str = r#"exec 3<&0 </dev/null; "$@" 3<&- & read -r end <&3; kill -KILL 0"#;

/// Takes what it says.
const SAID: &str = "chromedriver.out";

/// A chromedriver, and whatever it started. Dropping it ends all of that and removes their files.
pub struct Driver {
    supervisor: Child,
    folder: TempDir,
    pub port: u16,
}

impl Driver {
    /// Starts one. It takes the first port that is free for IPv6 and gives up if that is taken for IPv4: then another one is
    /// more lucky.
    pub async fn start() -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut driver = Self::spawn();
            match driver.says_its_port().await {
                Ok(port) => {
                    driver.port = port;
                    return driver;
                }
                Err(said) => assert!(Instant::now() < deadline, "chromedriver does not start: {said}"),
            }
        }
    }

    fn spawn() -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let supervisor = Command::new("/bin/sh")
            .args(["-c", SUPERVISOR, "browser-supervisor"])
            .arg(chromedriver())
            .arg("--port=0")
            .arg(format!(
                "--log-path={}",
                folder.path().join("chromedriver.log").display()
            ))
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(fs::File::create(folder.path().join(SAID)).unwrap())
            .stderr(Stdio::null())
            // What a browser writes outside of its profile is in the folder as well.
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .env("TZ", super::ZONE)
            .process_group(0)
            .spawn()
            .unwrap();
        Self {
            supervisor,
            folder,
            port: 0,
        }
    }

    /// The port that the system chose, or all that was said instead.
    async fn says_its_port(&self) -> Result<u16, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = fs::read_to_string(self.folder.path().join(SAID)).unwrap();
            let port = said
                .split_once("successfully on port ")
                .and_then(|(_, rest)| rest.split_once('.')?.0.parse().ok());
            if let Some(port) = port {
                return Ok(port);
            }
            if said.contains("Exiting") || Instant::now() > deadline {
                return Err(said);
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Where a browser may put its profile.
    pub fn profile(&self) -> PathBuf {
        self.folder.path().join("profile")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// The browser to use: `CHROMIUM`, or the first one in PATH and the usual places.
pub fn chromium() -> PathBuf {
    find(
        "CHROMIUM",
        &[
            "chromium",
            "chromium-browser",
            "google-chrome",
            "google-chrome-stable",
        ],
        &[
            "/Applications/Chromium.app/Contents/MacOS/Chromium",
            "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        ],
    )
}

fn chromedriver() -> PathBuf {
    find(
        "CHROMEDRIVER",
        &["chromedriver", "chromium.chromedriver"],
        &[
            "/usr/lib/chromium/chromedriver",
            "/usr/lib/chromium-browser/chromedriver",
            "/snap/bin/chromium.chromedriver",
        ],
    )
}

/// Without a browser these tests fail: passing would say that the console works.
fn find(variable: &str, names: &[&str], places: &[&str]) -> PathBuf {
    if let Some(named) = env::var_os(variable).filter(|named| !named.is_empty()) {
        return named.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path =
        env::split_paths::<OsStr>(&path).flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    in_path
        .chain(places.iter().map(PathBuf::from))
        .find(|program| program.is_file())
        .unwrap_or_else(|| {
            panic!(
                "There is no {} here, and the tests of the console need it. scripts/install-browser.sh installs it, as \
                 `make test` does; {variable} names one that is elsewhere.",
                names[0]
            )
        })
}
