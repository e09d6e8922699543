//! A new password, which is typed twice.

use secrecy::SecretString;

use super::form::Form;
use crate::auth::password;

/// The password as it was typed.
pub fn of(form: &Form) -> SecretString {
    form.text("password").into()
}

/// Adds the errors of a new password.
pub fn check(form: &mut Form, username: &str, email: &str) {
    for sentence in password::weaknesses(&of(form), username, email) {
        form.add_error("password", sentence);
    }
    if form.text("password") != form.text("again") {
        form.add_error("again", "The two passwords differ.");
    }
}
