//! Identities, the tokens that prove them, and what each may do. Pure but for its files: the time is a parameter, and
//! what must survive a restart goes through [`TokenRows`].

mod certificates;
mod config;
mod error;
mod failures;
mod identities;
mod jwt;
mod policy;
mod principal;
mod record;
mod secret;
mod table;
mod tickets;

pub use self::{
    certificates::CertificateConfig,
    config::{AuthMode, Config, RuleConfig, TokenConfig},
    error::{LoginRefused, SecurityError, TokenRefused},
    identities::{FirstToken, Identities, NewToken, NoTokenRows, TokenInfo, TokenRows, is_open},
    jwt::{JwksError, JwksPlace, JwksSource, JwtConfig, JwtFault},
    policy::{BUILT_IN, NamePattern, PolicyRule, Protected, Right, RuleSet},
    principal::Principal,
    record::{InvalidTokenRow, TokenRecord},
    secret::{TokenDigest, TokenSecret},
    table::TokenSource,
};

/// The table of tokens that were made at run time.
pub const TABLE: &str = "security.tokens";

/// The longest name of a token or a policy, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// True for a name of a token or a policy: letters, digits, `-`, `_` and `.`, at most 64.
pub(crate) fn is_name(text: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(of_name)
}
