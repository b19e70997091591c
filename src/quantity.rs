//! Durations, sizes, counts and shares of a configuration: how they are written, and their bounds.
//!
//! A leaf: every room may use it, and it knows no key.

mod text;

use std::{fmt, marker::PhantomData, ops::Deref, time::Duration};

use bytesize::ByteSize;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

pub use self::text::{InvalidDuration, duration, show_duration, show_size};

/// Bounds of a [`Duration`] are in milliseconds.
pub const SECOND: u64 = 1_000;
/// One minute in milliseconds.
pub const MINUTE: u64 = 60 * SECOND;
/// One hour in milliseconds.
pub const HOUR: u64 = 60 * MINUTE;
/// One day in milliseconds.
pub const DAY: u64 = 24 * HOUR;
/// 365 days in milliseconds.
pub const YEAR: u64 = 365 * DAY;

/// Bounds of a [`ByteSize`] are in bytes.
pub const KIB: u64 = 1 << 10;
/// One MiB in bytes.
pub const MIB: u64 = 1 << 20;
/// One GiB in bytes.
pub const GIB: u64 = 1 << 30;
/// One TiB in bytes.
pub const TIB: u64 = 1 << 40;

/// A type of which a value can be bounded.
pub trait Quantity: Copy + PartialOrd {
    /// How it is written, for an error message.
    const EXPECTED: &'static str;

    /// The value of a bound: milliseconds, bytes, a count, or thousandths.
    fn at(bound: u64) -> Self;

    /// Reads a text.
    fn parse(text: &str) -> Option<Self>;

    /// Reads a bare number: seconds, bytes, a count, or a fraction.
    fn number(number: f64) -> Option<Self>;

    /// Whether the text is right, and this type cannot hold its value.
    fn is_too_large(_text: &str) -> bool {
        false
    }

    /// Writes it as a configuration does.
    fn show(self) -> String;
}

/// A value from `MIN` to `MAX`, both included.
///
/// The bounds are in the units of [`Quantity::at`]: milliseconds for a [`Duration`], bytes for a
/// [`ByteSize`], thousandths for an `f64`, and 1 for the integers. Text outside of them is refused with a
/// message that names both; a value given in code is moved to the nearer bound.
///
/// ```
/// use std::time::Duration;
/// use musterd::quantity::{Bounded, DAY};
///
/// let grace: Bounded<Duration, 10, DAY> = Duration::from_secs(5).into();
/// assert_eq!(grace.as_secs(), 5);
/// let none: Bounded<Duration, 10, DAY> = Duration::ZERO.into();
/// assert_eq!(*none, Duration::from_millis(10));
/// ```
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub struct Bounded<T, const MIN: u64, const MAX: u64>(T);

impl<T: Quantity, const MIN: u64, const MAX: u64> Bounded<T, MIN, MAX> {
    /// The value.
    pub fn get(self) -> T {
        self.0
    }

    /// The value, if it is within the bounds.
    ///
    /// # Errors
    /// It is not: names the value and both bounds.
    pub fn checked(value: T) -> Result<Self, String> {
        let (least, most) = (T::at(MIN), T::at(MAX));
        if value >= least && value <= most {
            return Ok(Self(value));
        }
        Err(Self::outside(&value.show()))
    }

    fn outside(value: &str) -> String {
        let (least, most) = (T::at(MIN).show(), T::at(MAX).show());
        format!("is {value}, it must be between {least} and {most}")
    }
}

impl<T: Quantity, const MIN: u64, const MAX: u64> From<T> for Bounded<T, MIN, MAX> {
    fn from(value: T) -> Self {
        let (least, most) = (T::at(MIN), T::at(MAX));
        // In this order, so that what is no number becomes the smallest.
        if value > most {
            Self(most)
        } else if value >= least {
            Self(value)
        } else {
            Self(least)
        }
    }
}

impl<T, const MIN: u64, const MAX: u64> Deref for Bounded<T, MIN, MAX> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: PartialEq, const MIN: u64, const MAX: u64> PartialEq<T> for Bounded<T, MIN, MAX> {
    fn eq(&self, other: &T) -> bool {
        self.0 == *other
    }
}

impl<T: fmt::Debug, const MIN: u64, const MAX: u64> fmt::Debug for Bounded<T, MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Quantity, const MIN: u64, const MAX: u64> fmt::Display for Bounded<T, MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.show())
    }
}

impl<'de, T: Quantity, const MIN: u64, const MAX: u64> Deserialize<'de> for Bounded<T, MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Read(PhantomData))
    }
}

struct Read<T, const MIN: u64, const MAX: u64>(PhantomData<T>);

impl<T: Quantity, const MIN: u64, const MAX: u64> Visitor<'_> for Read<T, MIN, MAX> {
    type Value = Bounded<T, MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let number = || text.trim().parse().ok().and_then(T::number);
        match T::parse(text).or_else(number) {
            Some(value) => Bounded::checked(value).map_err(E::custom),
            None if T::is_too_large(text) => Err(E::custom(Self::Value::outside(text.trim()))),
            None => Err(E::custom(format_args!("\"{text}\" is not {}", T::EXPECTED))),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }
}

impl Quantity for Duration {
    const EXPECTED: &'static str =
        "a duration such as \"500ms\", \"30s\", \"1h\" or a number of seconds";

    fn at(bound: u64) -> Self {
        Self::from_millis(bound)
    }

    fn parse(text: &str) -> Option<Self> {
        duration(text).ok()
    }

    fn number(_: f64) -> Option<Self> {
        None
    }

    fn show(self) -> String {
        show_duration(self)
    }
}

impl Quantity for ByteSize {
    const EXPECTED: &'static str = "a size such as \"64KiB\", \"1MiB\" or a number of bytes";

    fn at(bound: u64) -> Self {
        Self::b(bound)
    }

    fn parse(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }

    fn number(_: f64) -> Option<Self> {
        None
    }

    fn show(self) -> String {
        show_size(self.as_u64())
    }
}

impl Quantity for f64 {
    const EXPECTED: &'static str = "a number such as 0.5";

    #[expect(
        clippy::cast_precision_loss,
        reason = "bounds are far below the largest whole number of an f64"
    )]
    fn at(bound: u64) -> Self {
        bound as Self / 1e3
    }

    fn parse(_: &str) -> Option<Self> {
        None
    }

    fn number(number: f64) -> Option<Self> {
        Some(number)
    }

    fn show(self) -> String {
        self.to_string()
    }
}

macro_rules! counts {
    ($($count:ty),*) => {$(
        impl Quantity for $count {
            const EXPECTED: &'static str = "a whole number";

            fn at(bound: u64) -> Self {
                Self::try_from(bound).unwrap_or(Self::MAX)
            }

            fn parse(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }

            fn is_too_large(text: &str) -> bool {
                let text = text.trim();
                !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
            }

            fn number(_: f64) -> Option<Self> {
                None
            }

            fn show(self) -> String {
                self.to_string()
            }
        }
    )*};
}

counts!(u16, u32, u64, usize);

#[cfg(test)]
mod tests;
