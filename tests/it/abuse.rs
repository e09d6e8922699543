//! Requests that cost a client little and could cost the server everything: the real program under a memory limit. With
//! `FAULTS=full`, as in `make faults`, there are ten times as many.

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

/// How long anything may take before a test says that it does not happen.
const PATIENCE: Duration = Duration::from_mins(1);
/// What a server may have in memory at most, whatever it is sent, and how much more than before it was sent it.
const PEAK: u64 = 256 * MIB;
const GROWTH: u64 = 96 * MIB;
const MIB: u64 = 1024 * 1024;

/// How many times something is done: `small`, or ten times that in `make faults`.
fn size(small: usize) -> usize {
    let is_full = env::var("FAULTS").is_ok_and(|faults| faults == "full");
    if is_full { small * 10 } else { small }
}

/// A server in production's settings, in a process of its own that may take a gigabyte.
struct Target {
    app: TestApp,
    server: Running,
    address: SocketAddr,
    /// What it had in memory when it was ready.
    before: u64,
}

impl Target {
    /// Starts a server whose API anyone may read, with some other settings.
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

    /// Opens a connection that takes next to nothing of what it is sent, and asks for something.
    async fn ask(&self, request: impl AsRef<[u8]>) -> Stranger {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        // A server that refuses may close before it has read everything.
        let _ = stream.write_all(request.as_ref()).await;
        Stranger(stream)
    }

    /// Asks for the same over so many connections, all of which stay open; each has the first line of its answer.
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

    /// Sees to it that others are answered as ever, each over a connection of its own.
    async fn serves_others(&self) {
        for path in ["/health/", "/api/products/", "/api/stores/", "/admin/login/"] {
            for _ in 0..3 {
                let answer = send(client().get(format!("http://{}{path}", self.address))).await;
                let status = answer.status.as_u16();
                assert!([200, 401].contains(&status), "{path}: {status} {}", answer.text);
            }
        }
    }

    /// Sees to it that the server is alive, has not taken much memory, and stops in good order.
    async fn survives(self) -> String {
        self.survives_within(GROWTH).await
    }

    /// The same, where it may have taken so much more memory.
    async fn survives_within(mut self, growth: u64) -> String {
        self.serves_others().await;
        let peak = self.memory("VmHWM");
        let grown = peak.saturating_sub(self.before);
        assert!(grown < growth, "it took {} MiB more", grown / MIB);
        let anonymous = peak.saturating_sub(self.memory("RssFile"));
        assert!(anonymous < PEAK, "it took {} MiB", anonymous / MIB);
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

/// A client whom nobody knows.
struct Stranger(TcpStream);

impl Stranger {
    /// Waits until there is something of an answer, and leaves it where it is.
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

/// A test has an end of each connection.
fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    let _ = setrlimit(Resource::Nofile, all);
}
