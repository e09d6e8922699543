//! A new password, which is typed twice.

use secrecy::SecretString;

use super::form::Form;
use crate::auth::password;

/// The password as it was typed.
pub fn of(form: &Form) -> SecretString {
    form.text("password").into()
}

/// Says what is wrong with it.
pub fn blame(form: &mut Form, username: &str, email: &str) {
    for sentence in password::weaknesses(&of(form), username, email) {
        form.blame("password", sentence);
    }
    if form.text("password") != form.text("again") {
        form.blame("again", "The two passwords differ.");
    }
}
