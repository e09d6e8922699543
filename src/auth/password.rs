//! Password rules and hashes.

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
use zxcvbn::{Score, zxcvbn};

/// Minimum length in characters.
const MIN_CHARS: usize = 10;
/// Maximum length in bytes.
const MAX_BYTES: usize = 1024;
/// Maximum number of passwords that are hashed or wait, by [`Queue`].
const MAX_UNKNOWN: usize = 48;
const MAX_KNOWN: usize = 16;

/// The hash of a password that no account has. Checking it takes as long as for an account that exists.
const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Ys6UZ0Q0kQjsZJv8w8g93A$YkRQ3YRGqCHqKFHNUa8Es5D74lkx74b2dcaOptZAFjU";

/// The rules that a new password breaks, one sentence each.
pub fn weaknesses(password: &SecretString, username: &str, email: &str) -> Vec<&'static str> {
    let password = password.expose_secret();
    let lower = password.to_lowercase();
    let is = |text: &str| !text.is_empty() && text.to_lowercase() == lower;
    let (is_short, is_long) = (password.chars().count() < MIN_CHARS, password.len() > MAX_BYTES);
    let rules = [
        (
            is_short,
            "This password is too short: it needs at least 10 characters.",
        ),
        (
            is_long,
            "This password is too long: it may have at most 1024 bytes.",
        ),
        (is(username), "This password is the username."),
        (is(email), "This password is the email address."),
        (
            !is_short && !is_long && is_guessable(password, username, email),
            "This password is one of the commonest: it would be guessed first.",
        ),
    ];
    let broken = rules.into_iter().filter(|(is_broken, _)| *is_broken);
    broken.map(|(_, sentence)| sentence).collect()
}

/// Whether a guesser who knows the account and common passwords finds it within a million guesses.
fn is_guessable(password: &str, username: &str, email: &str) -> bool {
    zxcvbn(password, &[username, email]).score() < Score::Two
}

/// The stored form of a password: an Argon2id hash, as text with its parameters and salt.
#[derive(Clone)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Reads the column.
    pub fn of_column(text: String) -> Self {
        Self(text)
    }

    /// The value of the column.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// Why a password was not hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Too many passwords wait already.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// Hashing failed.
    #[error("a password could not be hashed: {0}")]
    Failed(String),
}

/// The queue of a password. Each queue has its own limit, so that unknown clients cannot block known ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Clients that are logged in, or whose address the account used recently.
    Known,
    /// All other clients.
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

/// Whether `password` has this hash. Without a hash the answer is no, after the same time.
pub async fn is_password(
    password: &SecretString,
    hash: Option<PasswordHash>,
    queue: Queue,
) -> Result<bool, HashError> {
    if password.expose_secret().len() > MAX_BYTES {
        return Ok(false);
    }
    let password = password.clone();
    let compared = THREADS.run(queue, move || {
        let text = hash.as_ref().map_or(DUMMY_HASH, PasswordHash::as_str);
        let parsed = phc::PasswordHash::new(text).map_err(|error| HashError::Failed(error.to_string()))?;
        let verified = Argon2::default().verify_password(password.expose_secret().as_bytes(), &parsed);
        Ok(verified.is_ok() && hash.is_some())
    });
    compared.await?
}

/// One core stays free for other work, if there are several.
static THREADS: LazyLock<Threads> = LazyLock::new(|| {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Threads::new(cores.saturating_sub(1).max(1))
});

/// Threads for hashing beside the runtime, with their queues.
struct Threads {
    free: Arc<Semaphore>,
    /// Held by unknown callers that run or are next, one for each thread. So a known caller waits for running work only, not
    /// for the queue of unknown callers.
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
            unknown_places: permits(MAX_UNKNOWN),
            known_places: permits(MAX_KNOWN),
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
        // A caller that stops waiting does not stop the work, so the work holds the permits.
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
    async fn hash_verifies_its_password_only() {
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
    async fn dummy_hash_has_the_parameters_of_a_real_one() {
        let parameters = |hash: &str| hash.rsplitn(3, '$').nth(2).map(str::to_owned);
        let made = hash(&"long enough".into()).await.unwrap();
        assert_eq!(parameters(made.as_str()), parameters(DUMMY_HASH));
        assert_eq!(made.as_str().len(), DUMMY_HASH.len());
    }

    #[test]
    fn every_broken_rule_is_reported() {
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
        assert_eq!(said("Me@Shop.example")[0], "This password is the email address.");
        for common in [
            "1234567890",
            "9876543210",
            "1111111111",
            "password123",
            "Password1234",
            "passw0rd123",
            "qwertyuiop",
            "1q2w3e4r5t6y",
            "1qaz2wsx3edc",
            "iloveyou123",
            "letmein1234",
            "changeme123",
            "asdfghjkl123",
            "manchester",
            "christopher",
            "abcdefghij",
        ] {
            assert_eq!(said(common).len(), 1, "{common}");
        }
    }

    #[tokio::test]
    async fn known_callers_overtake_waiting_unknown_ones() {
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
        running.extend((1..MAX_UNKNOWN).map(|_| start(Queue::Unknown, "unknown", None)));
        while threads.unknown_places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let one_too_many = threads.run(Queue::Unknown, || ()).await;
        assert!(matches!(one_too_many, Err(HashError::Busy)));
        running.push(start(Queue::Known, "known", None));
        while threads.known_places.available_permits() == MAX_KNOWN {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
        for task in running {
            task.await.unwrap().unwrap();
        }
        let order = order.lock().unwrap();
        assert_eq!(order.len(), MAX_UNKNOWN + 1);
        assert_eq!(order[..2], ["first", "known"]);
    }
}
