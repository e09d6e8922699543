//! Numbers as they were written: messages depend on the digits, not on the value.

use rust_decimal::Decimal;

/// Splits `+007` into its sign and `7`; `None` for anything that is not an integer.
pub(super) fn sign_and_digits(text: &str) -> Option<(bool, &str)> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        Some((false, "0"))
    } else {
        Some((negative, significant))
    }
}

/// A decimal number as it was written: its digits without leading zeros, and the power of ten of the last of them.
#[derive(Debug, PartialEq)]
pub(super) struct Scientific {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Scientific {
    /// Reads `-12.30`, `.5`, `5.`, `1e-2`; `None` for anything else, infinities included.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let (negative, digits) = sign_and_digits(exponent)?;
                let exponent: i64 = digits
                    .parse()
                    .ok()
                    .filter(|exponent| *exponent < 1_000_000_000_000)?;
                (mantissa, if negative { -exponent } else { exponent })
            }
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let significant = digits.trim_start_matches('0');
        let digits = if significant.is_empty() { "0" } else { significant }.to_owned();
        Some(Self {
            negative,
            digits,
            exponent: exponent - i64::try_from(fraction.len()).ok()?,
        })
    }

    /// How many digits the number takes in all, after the point, and before it.
    pub fn digits_needed(&self) -> (i64, i64, i64) {
        let written = i64::try_from(self.digits.len()).unwrap_or(i64::MAX);
        let places = (-self.exponent).max(0);
        let total = if self.exponent >= 0 {
            written + self.exponent
        } else {
            written.max(places)
        };
        (total, places, total - places)
    }

    /// The number with two decimal places; only for one that [`Self::digits_needed`] has found small.
    pub fn in_hundredths(&self) -> Decimal {
        let shift = u32::try_from(self.exponent + 2).unwrap_or(0);
        let hundredths = self.digits.parse::<i64>().unwrap_or(0) * 10_i64.pow(shift);
        Decimal::new(if self.negative { -hundredths } else { hundredths }, 2)
    }

    /// The power of ten of the first digit; below all others for zero.
    pub fn magnitude(&self) -> i64 {
        if self.digits == "0" {
            return i64::MIN;
        }
        self.exponent + i64::try_from(self.digits.len()).unwrap_or(i64::MAX) - 1
    }
}
