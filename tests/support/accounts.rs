//! User accounts.

use afforo::auth::{Account, AccountFields, PasswordHash, Role, account};
use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, phc},
};

use super::app::TestApp;

/// The password of every account that [`account`] creates.
pub const PASSWORD: &str = "correct horse battery";

/// Creates an active account with a fast password hash.
pub async fn account(app: &TestApp, username: &str, role: Role, stores: Option<Vec<i64>>) -> Account {
    let fields = AccountFields {
        username: username.to_owned(),
        email: String::new(),
        role,
        stores,
        is_active: true,
    };
    // The hash itself contains its cost.
    let cheap = Argon2::new(
        Algorithm::Argon2id,
        Version::V0x13,
        Params::new(8, 1, 1, None).unwrap(),
    );
    let hash: phc::PasswordHash = cheap.hash_password(PASSWORD.as_bytes()).unwrap();
    let hash = PasswordHash::of_column(hash.to_string());
    account::create(&app.pool, &fields, &hash).await.unwrap()
}
