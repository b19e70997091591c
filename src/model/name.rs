//! Names as the contract allows them, checked once at the door.

use std::{borrow::Borrow, fmt, sync::Arc};

/// The longest name, in bytes of UTF-8.
const NAME_BYTES_MAX: usize = 200;

/// The service, and its only instance, by which a migration tries each way.
pub const CANARY: &str = "musterd-canary";

/// The header that every outbound HTTP request carries. With it a daemon recognises requests that checks and
/// webhooks, its own or another daemon's, cause.
pub const OUTBOUND_HEADER: &str = "x-musterd-outbound";

/// Ids that are paths of the REST API.
const RESERVED: [&str; 4] = ["register", "heartbeat", "discover", "healthy"];

/// Why a name was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// No character at all.
    #[error("must not be empty")]
    Empty,
    /// More than 200 bytes.
    #[error("is {0} bytes long, at most {NAME_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// A control character such as a line feed or NUL.
    #[error("must not contain control characters (found {0:?})")]
    Control(char),
    /// White space at the start or the end.
    #[error("must not start or end with white space")]
    Edge,
    /// A service name with a slash.
    #[error("must not contain \"/\"")]
    Slash,
    /// A service id that is a path of the REST API.
    #[error("\"{0}\" is reserved: it is a path of the API, choose another id")]
    Reserved(&'static str),
}

fn checked(text: &str) -> Result<&str, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong(text.len()));
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(NameError::Control(control));
    }
    if text.trim().len() != text.len() {
        return Err(NameError::Edge);
    }
    Ok(text)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $extra:expr) => {
        $(#[$doc])*
        #[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a name; every later use can rely on it.
            ///
            /// # Errors
            /// Says which rule the text breaks.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let text = checked(text)?;
                let extra: fn(&str) -> Result<(), NameError> = $extra;
                extra(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// Identifies one instance: 1-200 bytes, no control characters, not one of the API's own paths.
    ServiceId,
    |text| match RESERVED.into_iter().find(|reserved| *reserved == text) {
        Some(reserved) => Err(NameError::Reserved(reserved)),
        None => Ok(()),
    }
);
name!(
    /// Names a service, which has any number of instances: 1-200 bytes, no control characters, no "/".
    ServiceName,
    |text| if text.contains('/') {
        Err(NameError::Slash)
    } else {
        Ok(())
    }
);
name!(
    /// Identifies a gateway route: 1-200 bytes, no control characters.
    RouteId,
    |_| Ok(())
);

#[cfg(test)]
mod tests;
