//! Passwords: what makes one good enough, and its hash, which is all that is kept of it.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    thread,
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// Characters that a password has at least.
const SHORTEST: usize = 10;
/// Bytes that it has at most.
const LONGEST: usize = 1024;
/// Passwords that are hashed or may wait for it, by [`Queue`].
const MOST_UNKNOWN: usize = 48;
const MOST_KNOWN: usize = 16;

/// Those of the commonest passwords that are long enough to get this far.
const COMMONEST: [&str; 48] = [
    "0123456789",
    "0987654321",
    "1111111111",
    "1122334455",
    "11111111111",
    "12345678910",
    "1234567890",
    "12345678900",
    "123456789a",
    "1234567890q",
    "1234512345",
    "1q2w3e4r5t",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "9876543210",
    "a123456789",
    "abc1234567",
    "abcdefghij",
    "administrator",
    "admin12345",
    "admin123456",
    "asdfghjkl123",
    "asdfghjkl;",
    "basketball",
    "bismillah1",
    "changeme123",
    "changeme1234",
    "christopher",
    "iloveyou12",
    "iloveyou123",
    "letmein123",
    "letmein1234",
    "loveyou123",
    "manchester",
    "passw0rd123",
    "password01",
    "password12",
    "password123",
    "password1234",
    "password12345",
    "password123!",
    "princess123",
    "q1w2e3r4t5",
    "q1w2e3r4t5y6",
    "qwerty12345",
    "qwerty123456",
    "qwertyuiop",
    "welcome123",
];

/// A password that nobody has, hashed as all are: whoever names an account that does not exist waits for it as long.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Ys6UZ0Q0kQjsZJv8w8g93A$YkRQ3YRGqCHqKFHNUa8Es5D74lkx74b2dcaOptZAFjU";

/// Says what is wrong with a new password, a sentence each; nothing, if it is good enough.
#[must_use]
pub fn weaknesses(password: &SecretString, username: &str, email: &str) -> Vec<&'static str> {
    let password = password.expose_secret();
    let lower = password.to_lowercase();
    let is = |text: &str| !text.is_empty() && text.to_lowercase() == lower;
    let rules = [
        (
            password.chars().count() < SHORTEST,
            "This password is too short: it needs at least 10 characters.",
        ),
        (
            password.len() > LONGEST,
            "This password is too long: it may have at most 1024 bytes.",
        ),
        (is(username), "This password is the username."),
        (is(email), "This password is the email address."),
        (
            COMMONEST.contains(&lower.as_str()),
            "This password is one of the commonest: it would be guessed first.",
        ),
    ];
    let broken = rules.into_iter().filter(|(is_broken, _)| *is_broken);
    broken.map(|(_, sentence)| sentence).collect()
}

/// What is kept of a password: an Argon2id hash, as a text that names its parameters and its salt.
#[derive(Clone)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// As it stands in its column.
    #[must_use]
    pub fn of_column(text: String) -> Self {
        Self(text)
    }

    /// For its column.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// Why a password was neither hashed nor compared.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Too many wait for that already.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// It could not be done.
    #[error("a password could not be hashed: {0}")]
    Failed(String),
}

/// Who waits for a password to be hashed. Each has places of its own, so that strangers cannot take those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Who is logged in, or logs in from an address from which the account has logged in lately.
    Known,
    /// Anyone else.
    Unknown,
}

/// Hashes a password.
pub async fn hash(password: &SecretString) -> Result<PasswordHash, HashError> {
    let password = password.clone();
    let hashed = THREADS.run(Queue::Known, move || {
        let hash: phc::PasswordHash = Argon2::default()
            .hash_password(password.expose_secret().as_bytes())
            .map_err(|error| HashError::Failed(error.to_string()))?;
        Ok(PasswordHash(hash.to_string()))
    });
    hashed.await?
}

/// Whether `password` is the one with this hash. It is no one's where there is no hash, and that takes as long.
pub async fn is_password(
    password: &SecretString,
    hash: Option<PasswordHash>,
    queue: Queue,
) -> Result<bool, HashError> {
    if password.expose_secret().len() > LONGEST {
        return Ok(false);
    }
    let password = password.clone();
    let compared = THREADS.run(queue, move || {
        let text = hash.as_ref().map_or(NOBODYS, PasswordHash::as_str);
        let parsed = phc::PasswordHash::new(text).map_err(|error| HashError::Failed(error.to_string()))?;
        let verified = Argon2::default().verify_password(password.expose_secret().as_bytes(), &parsed);
        Ok(verified.is_ok() && hash.is_some())
    });
    compared.await?
}

/// One core is left to everything else, where there are several.
static THREADS: LazyLock<Threads> = LazyLock::new(|| {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Threads::new(cores.saturating_sub(1).max(1))
});

/// Threads beside the runtime for what keeps a core busy for a while, and the queues of those that wait for one.
struct Threads {
    free: Arc<Semaphore>,
    /// Held by an unknown caller that is at work or next: there are as many as threads, so that a known caller waits for the
    /// work that is under way, never for the queue of unknown callers.
    unknown_front: Arc<Semaphore>,
    unknown_places: Arc<Semaphore>,
    known_places: Arc<Semaphore>,
}

impl Threads {
    fn new(count: usize) -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        Self {
            free: permits(count),
            unknown_front: permits(count),
            unknown_places: permits(MOST_UNKNOWN),
            known_places: permits(MOST_KNOWN),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        queue: Queue,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let busy = |_| HashError::Busy;
        let (places, front) = match queue {
            Queue::Known => (&self.known_places, None),
            Queue::Unknown => (&self.unknown_places, Some(self.unknown_front.clone())),
        };
        let place = places.clone().try_acquire_owned().map_err(|_| HashError::Busy)?;
        let front = match front {
            Some(front) => Some(front.acquire_owned().await.map_err(busy)?),
            None => None,
        };
        let thread = self.free.clone().acquire_owned().await.map_err(busy)?;
        // Whoever gives up waiting does not end the work, so the permits go with it.
        let worked = spawn_blocking(move || {
            let done = work();
            drop((thread, front, place));
            done
        });
        worked.await.map_err(|error| HashError::Failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_is_of_one_password_and_like_no_other() {
        let password = SecretString::from("correct horse battery");
        let (first, second) = (hash(&password).await.unwrap(), hash(&password).await.unwrap());
        assert_ne!(first.as_str(), second.as_str());
        assert!(
            is_password(&password, Some(first.clone()), Queue::Known)
                .await
                .unwrap()
        );
        let other = SecretString::from("correct horse battery staple");
        assert!(!is_password(&other, Some(first), Queue::Known).await.unwrap());
        assert!(!is_password(&password, None, Queue::Unknown).await.unwrap());
    }

    #[tokio::test]
    async fn nobodys_password_takes_what_all_take() {
        let parameters = |hash: &str| hash.rsplitn(3, '$').nth(2).map(str::to_owned);
        let made = hash(&"long enough".into()).await.unwrap();
        assert_eq!(parameters(made.as_str()), parameters(NOBODYS));
        assert_eq!(made.as_str().len(), NOBODYS.len());
    }

    #[test]
    fn every_weakness_is_said() {
        let said = |password: &str| weaknesses(&password.into(), "administrator", "me@shop.example");
        assert_eq!(said("a good one, this"), <[&str; 0]>::default());
        assert_eq!(said("ten chars!"), <[&str; 0]>::default());
        assert_eq!(
            said("nine char"),
            ["This password is too short: it needs at least 10 characters."]
        );
        assert_eq!(
            said(&"ü".repeat(513)),
            ["This password is too long: it may have at most 1024 bytes."]
        );
        assert_eq!(
            said("ADMINISTRATOR"),
            [
                "This password is the username.",
                "This password is one of the commonest: it would be guessed first."
            ]
        );
        assert_eq!(said("Me@Shop.example"), ["This password is the email address."]);
        assert_eq!(said(COMMONEST[7]).len(), 1);
        let long = COMMONEST.iter().all(|password| password.len() >= SHORTEST);
        assert!(long, "shorter ones are refused anyway");
    }

    #[tokio::test]
    async fn known_callers_pass_unknown_ones_that_wait() {
        let threads = Arc::new(Threads::new(1));
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (release, released) = std::sync::mpsc::channel::<()>();
        let began = Arc::new(tokio::sync::Notify::new());
        let start = |queue, name, wait: Option<std::sync::mpsc::Receiver<()>>| {
            let (threads, order, began) = (threads.clone(), order.clone(), began.clone());
            tokio::spawn(async move {
                let work = move || {
                    began.notify_one();
                    wait.map(|wait| wait.recv());
                    order.lock().unwrap().push(name);
                };
                threads.run(queue, work).await
            })
        };
        let mut running = vec![start(Queue::Unknown, "first", Some(released))];
        began.notified().await;
        running.extend((1..MOST_UNKNOWN).map(|_| start(Queue::Unknown, "unknown", None)));
        while threads.unknown_places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let one_too_many = threads.run(Queue::Unknown, || ()).await;
        assert!(matches!(one_too_many, Err(HashError::Busy)));
        running.push(start(Queue::Known, "known", None));
        while threads.known_places.available_permits() == MOST_KNOWN {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
        for task in running {
            task.await.unwrap().unwrap();
        }
        let order = order.lock().unwrap();
        assert_eq!(order.len(), MOST_UNKNOWN + 1);
        assert_eq!(order[..2], ["first", "known"]);
    }
}
