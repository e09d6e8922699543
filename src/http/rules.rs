//! The rules that turn JSON values into fields, with the messages for invalid ones. Accepted values and messages are those of
//! the original system.

use std::borrow::Cow;

use chrono::DateTime;
use rust_decimal::Decimal;

use super::{
    number::{Scientific, sign_and_digits},
    value::Value,
};
use crate::{money::Money, timestamp::Timestamp};

pub(super) type Message = Cow<'static, str>;
/// The result of a rule.
pub type Ruled<T> = Result<T, Message>;

/// Longer texts are not parsed as numbers.
const LONGEST_NUMBER: usize = 1000;
/// The longest code of a product, in characters.
const LONGEST_CODE: usize = 64;

/// A text of at most `longest` characters, trimmed, not blank. Numbers are taken as their text.
pub fn text(longest: usize) -> impl Fn(&Value<'_>) -> Ruled<String> {
    move |value| match text_or_blank(longest)(value)? {
        blank if blank.is_empty() => Err("This field may not be blank.".into()),
        text => Ok(text),
    }
}

/// As [`text`], but it may be blank.
pub fn text_or_blank(longest: usize) -> impl Fn(&Value<'_>) -> Ruled<String> {
    move |value| {
        let text = written(value).ok_or("Not a valid string.")?;
        let text = trim(&text);
        if text.chars().count() > longest {
            return Err(format!("Ensure this field has no more than {longest} characters.").into());
        }
        if text.contains('\0') {
            return Err("Null characters are not allowed.".into());
        }
        Ok(text.to_owned())
    }
}

/// As [`text_or_blank`], without line breaks and other control characters.
pub fn line(longest: usize) -> impl Fn(&Value<'_>) -> Ruled<String> {
    move |value| {
        let text = text_or_blank(longest)(value)?;
        if text.contains(char::is_control) {
            return Err("Control characters are not allowed.".into());
        }
        Ok(text)
    }
}

/// A code of a product: 1 to 64 printable ASCII characters, trimmed.
pub fn code(value: &Value<'_>) -> Ruled<String> {
    let code = text(LONGEST_CODE)(value)?;
    if code.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        Ok(code)
    } else {
        Err("Use printable ASCII characters only.".into())
    }
}

/// As [`code`], for a text of a path or a query string.
pub fn code_of_text(text: &str) -> Ruled<String> {
    code(&Value::Text(text.into()))
}

/// Units: an integer from 1 to 2147483647.
pub fn units(value: &Value<'_>) -> Ruled<i32> {
    match integer(value)? {
        0 => Err("Ensure this value is greater than or equal to 1.".into()),
        units => Ok(units),
    }
}

/// One of some words.
pub fn one_of<T: Copy, const N: usize>(words: [(&'static str, T); N]) -> impl Fn(&Value<'_>) -> Ruled<T> {
    move |value| {
        let text = text_or_blank(LONGEST_NUMBER)(value)?;
        let known = words.iter().find(|(word, _)| *word == text);
        let choice = known.map(|(_, choice)| *choice);
        choice.ok_or_else(|| format!("\"{text}\" is not a valid choice.").into())
    }
}

/// A price from 0.01 to 99999999.99, as a number or a text. Digits are counted as they are written: `10.000` has three
/// decimal places.
pub fn price(value: &Value<'_>) -> Ruled<Money> {
    money(value, 10, Decimal::new(1, 2))
}

/// An amount from 0.00 to 9999999999.99, as a number or a text.
pub fn amount(value: &Value<'_>) -> Ruled<Money> {
    money(value, 12, Decimal::new(0, 2))
}

fn money(value: &Value<'_>, most_digits: u32, least: Decimal) -> Ruled<Money> {
    const INVALID: &str = "A valid number is required.";
    let text = written(value).ok_or(INVALID)?;
    let text = trim(&text);
    if text.chars().count() > LONGEST_NUMBER {
        return Err("String value too large.".into());
    }
    let number = Scientific::parse(text).ok_or(INVALID)?;
    let (total, places, whole) = number.digits_needed();
    if total > most_digits.into() {
        return Err(format!("Ensure that there are no more than {most_digits} digits in total.").into());
    }
    if places > 2 {
        return Err("Ensure that there are no more than 2 decimal places.".into());
    }
    let most_before = most_digits - 2;
    if whole > most_before.into() {
        return Err(format!(
            "Ensure that there are no more than {most_before} digits before the decimal point."
        )
        .into());
    }
    let money = number.in_hundredths();
    if money < least {
        return Err(format!("Ensure this value is greater than or equal to {least}.").into());
    }
    Ok(Money(money))
}

/// An integer from 0 to 2147483647, the range of the column.
pub fn integer(value: &Value<'_>) -> Ruled<i32> {
    let (negative, digits) = digits(value)?;
    match digits.parse::<i32>() {
        Err(_) if !negative => Err("Ensure this value is less than or equal to 2147483647.".into()),
        Ok(number) if !negative || number == 0 => Ok(number),
        _ => Err("Ensure this value is greater than or equal to 0.".into()),
    }
}

/// An integer from -2147483648 to 2147483647 other than 0.
pub fn delta(value: &Value<'_>) -> Ruled<i32> {
    let (negative, digits) = digits(value)?;
    let signed = if negative { format!("-{digits}") } else { digits };
    match signed.parse::<i32>() {
        Ok(0) => Err("Ensure this value is not 0.".into()),
        Ok(number) => Ok(number),
        Err(_) if negative => Err("Ensure this value is greater than or equal to -2147483648.".into()),
        Err(_) => Err("Ensure this value is less than or equal to 2147483647.".into()),
    }
}

/// An integer from 1 to 9223372036854775807.
pub fn positive(value: &Value<'_>) -> Ruled<i64> {
    let (negative, digits) = digits(value)?;
    match digits.parse::<i64>() {
        Ok(number) if !negative && number > 0 => Ok(number),
        Err(_) if !negative => {
            Err(format!("Ensure this value is less than or equal to {}.", i64::MAX).into())
        }
        _ => Err("Ensure this value is greater than or equal to 1.".into()),
    }
}

/// One to `most` ids.
pub fn ids(most: usize) -> impl Fn(&Value<'_>) -> Ruled<Vec<i64>> {
    move |value| {
        if !matches!(value, Value::List(_)) {
            let kind = value.type_name();
            return Err(format!("Expected a list of items but got type \"{kind}\".").into());
        }
        let elements = value.clone().elements();
        match elements.len() {
            0 => Err("At least one item is required".into()),
            length if length > most => {
                Err(format!("Ensure this field has no more than {most} elements.").into())
            }
            _ => elements.iter().map(positive).collect(),
        }
    }
}

/// True or false, in the spellings that the original system accepts.
pub fn boolean(value: &Value<'_>) -> Ruled<bool> {
    let known = match value {
        Value::Bool(known) => Some(*known),
        Value::Integer("1") | Value::Float(1.0) => Some(true),
        Value::Integer("0") | Value::Float(0.0) => Some(false),
        Value::Text(text) => match text.to_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
            "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    };
    known.ok_or_else(|| "Must be a valid boolean.".into())
}

/// A time such as `2024-01-15T10:30:00Z`.
pub fn timestamp(value: &Value<'_>) -> Ruled<Timestamp> {
    let text = text(LONGEST_NUMBER)(value)?;
    let time =
        DateTime::parse_from_rfc3339(&text).map_err(|_| "Send a time such as 2024-01-15T10:30:00Z.")?;
    Ok(Timestamp(time.to_utc()))
}

/// The id of another record. The command checks whether the record exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The id; 0, which no record has, if the value is not a possible id.
    pub id: i64,
    shown: String,
}

impl Reference {
    /// The message if the record does not exist.
    pub fn missing(&self) -> Cow<'static, str> {
        format!("Invalid pk \"{}\" - object does not exist.", self.shown).into()
    }
}

/// The id of another record: an integer or its digits.
pub fn reference(value: &Value<'_>) -> Ruled<Reference> {
    let wrong = || -> Message {
        format!(
            "Incorrect type. Expected pk value, received {}.",
            value.type_name()
        )
        .into()
    };
    let shown = written(value).ok_or_else(wrong)?.into_owned();
    if shown.is_empty() {
        return Err("This field may not be null.".into());
    }
    let integer = match value {
        Value::Float(_) => shown.strip_suffix(".0").ok_or_else(wrong)?,
        _ => trim(&shown),
    };
    let (negative, digits) = sign_and_digits(integer).ok_or_else(wrong)?;
    let id = if negative { 0 } else { digits.parse().unwrap_or(0) };
    Ok(Reference { id, shown })
}

/// Sign and digits of an integer, without leading zeros. A fraction of zeros is ignored.
fn digits(value: &Value<'_>) -> Ruled<(bool, String)> {
    if let Value::Text(text) = value
        && text.chars().count() > LONGEST_NUMBER
    {
        return Err("String value too large.".into());
    }
    let text = written(value).ok_or("A valid integer is required.")?;
    let mut text = trim(&text);
    if let Some((whole, zeros)) = text.rsplit_once('.')
        && zeros.bytes().all(|byte| byte == b'0')
    {
        text = trim(whole);
    }
    sign_and_digits(text)
        .map(|(negative, digits)| (negative, digits.to_owned()))
        .ok_or_else(|| "A valid integer is required.".into())
}

/// A text, or a number as text.
fn written<'v>(value: &'v Value<'_>) -> Option<Cow<'v, str>> {
    match value {
        Value::Text(text) => Some(text.as_ref().into()),
        Value::Integer(digits) => Some((*digits).into()),
        Value::Float(number) => Some(format!("{number:?}").into()),
        _ => None,
    }
}

/// Trims the white space of the original system.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c))
}

#[cfg(test)]
mod tests;
