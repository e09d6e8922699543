//! Size and randomness of a run: `FAULTS=full` and `FAULTS_SEED`.

use std::sync::OnceLock;

use rand::{SeedableRng, rngs::StdRng};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Whether scenarios run at full size, which takes minutes. Small ones take seconds.
pub fn is_full() -> bool {
    std::env::var("FAULTS").is_ok_and(|size| size == "full")
}

/// Selects the small or the full number.
pub fn size<T>(small: T, full: T) -> T {
    if is_full() { full } else { small }
}

/// The random number generator of a scenario. All generators derive from one seed, which is printed.
pub fn of(scenario: &str) -> StdRng {
    static SEED: OnceLock<u64> = OnceLock::new();
    let seed = *SEED.get_or_init(|| match std::env::var("FAULTS_SEED") {
        Ok(seed) => seed.parse().expect("FAULTS_SEED is a number"),
        Err(_) => rand::random(),
    });
    println!("{scenario}: FAULTS_SEED={seed}");
    StdRng::seed_from_u64(xxh3_64_with_seed(scenario.as_bytes(), seed))
}
