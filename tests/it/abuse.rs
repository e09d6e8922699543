//! Requests that are cheap for a client and expensive for the server: the real program under a memory limit. With
//! `FAULTS=full`, as in `make faults`, the tests send ten times as many.

mod access;
mod answers;
mod logs;
mod parsers;

use std::{env, fs, net::SocketAddr, process::ExitStatus, time::Duration};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    process::Command,
    time::timeout,
};

use crate::support::{
    app::{TestApp, client, send},
    program::{Running, afforo, on},
};

/// The longest wait for an event before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);
/// The most memory that a server may use, in total and in addition to its memory at the start.
const PEAK: u64 = 256 * MIB;
const GROWTH: u64 = 96 * MIB;
const MIB: u64 = 1024 * 1024;

/// The number of repetitions: `small`, or ten times that in `make faults`.
fn size(small: usize) -> usize {
    let is_full = env::var("FAULTS").is_ok_and(|faults| faults == "full");
    if is_full { small * 10 } else { small }
}

/// A server process with production settings and a memory limit of a gigabyte.
struct Target {
    app: TestApp,
    server: Running,
    address: SocketAddr,
    /// The memory in use when the server was ready.
    before: u64,
}

impl Target {
    /// Starts a server whose API is readable without a key, with more settings.
    async fn start(env: &[(&str, &str)]) -> Self {
        allow_many_files();
        let app = TestApp::start().await;
        let program = afforo(&["serve", "127.0.0.1:0"]);
        let mut capped = Command::new("/bin/sh");
        capped.args(["-c", "ulimit -d 1048576 && exec \"$0\" \"$@\""]);
        capped
            .arg(program.as_std().get_program())
            .args(program.as_std().get_args());
        let kept = program.as_std().get_envs();
        let kept = kept.filter_map(|(name, value)| Some((name, value?)));
        capped.env_clear().envs(kept).current_dir("/").kill_on_drop(true);
        on(&mut capped, &app.database_url, app.redis.url());
        capped.env("DEBUG", "False").env("API_AUTH", "write");
        capped.env("SECRET_KEY", "a long random text of the tests of abuse");
        capped.envs(env.iter().copied());
        let mut server = Running::start(&mut capped);
        let address = server.address().await;
        let mut target = Self {
            app,
            server,
            address,
            before: 0,
        };
        target.serves_others().await;
        target.before = target.memory("VmHWM");
        target
    }

    /// Opens a connection with a tiny receive buffer and sends a request.
    async fn ask(&self, request: impl AsRef<[u8]>) -> Stranger {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        // A server that refuses may close before it has read everything.
        let _ = stream.write_all(request.as_ref()).await;
        Stranger(stream)
    }

    /// Sends the same request over `count` connections, which stay open, and waits for the start of each response.
    async fn flood(&self, count: usize, request: &str) -> Vec<Stranger> {
        let mut strangers = Vec::with_capacity(count);
        for _ in 0..count {
            strangers.push(self.ask(request).await);
        }
        for stranger in &strangers {
            stranger.is_being_answered().await;
        }
        strangers
    }

    /// Asserts that other clients get normal responses, each over a new connection.
    async fn serves_others(&self) {
        for path in ["/health/", "/api/products/", "/api/stores/", "/admin/login/"] {
            for _ in 0..3 {
                let answer = send(client().get(format!("http://{}{path}", self.address))).await;
                let status = answer.status.as_u16();
                assert!([200, 401].contains(&status), "{path}: {status} {}", answer.text);
            }
        }
    }

    /// Asserts that the server is healthy, uses little more memory, and stops without an error.
    async fn survives(self) -> String {
        self.survives_within(GROWTH).await
    }

    /// Like `survives`, with another bound on additional memory.
    async fn survives_within(mut self, growth: u64) -> String {
        self.serves_others().await;
        let peak = self.memory("VmHWM");
        let grown = peak.saturating_sub(self.before);
        assert!(grown < growth, "the server used {} MiB more", grown / MIB);
        let anonymous = peak.saturating_sub(self.memory("RssFile"));
        assert!(anonymous < PEAK, "the server used {} MiB", anonymous / MIB);
        self.server.signal(Signal::TERM);
        let status: ExitStatus = self.server.ends().await;
        assert_eq!(status.code(), Some(0), "{}", self.server.output());
        self.server.output()
    }

    /// A figure of `/proc/<pid>/status`, in bytes.
    fn memory(&self, name: &str) -> u64 {
        let pid = self.server.pid().as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let kib = line.trim_matches([':', ' ', '\t']).trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }
}

/// An unknown client.
struct Stranger(TcpStream);

impl Stranger {
    /// Waits for the first bytes of the response without reading them.
    async fn is_being_answered(&self) {
        let mut begun = [0; 16];
        let peeking = timeout(PATIENCE, self.0.peek(&mut begun));
        assert!(peeking.await.expect("an answer").unwrap() > 0);
    }

    /// The status of the answer.
    async fn status(&mut self) -> u16 {
        let mut line = [0; 12];
        let reading = timeout(PATIENCE, self.0.read_exact(&mut line));
        reading.await.expect("an answer").unwrap();
        String::from_utf8_lossy(&line[9..]).parse().unwrap()
    }
}

/// The test process holds one end of each connection.
fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    let _ = setrlimit(Resource::Nofile, all);
}
