//! The login of a client: the frames of it. Room `auth` reads and checks what they say.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    handshake::{ClientOrigin, next_method, refuse, unexpected},
    reload::LoginRules,
    wire::{HandshakeError, Wire},
};
use crate::broker::{
    auth::{
        Credentials, Mechanism, Opening, Refused, SaslError, User,
        sasl::{self, CHALLENGE},
    },
    exception::Exception,
    wire::{
        Method, MethodId, ReplyCode,
        method::{MethodSpec, connection},
    },
};

/// Finds the user whose login `start_ok` begins. When there is none, the client has already received the
/// reason. RabbitMQ sends it only to clients with the capability "authentication_failure_close".
pub(super) async fn log_in(
    access: &LoginRules,
    wire: &mut Wire,
    from: &ClientOrigin,
    start_ok: &connection::StartOk,
) -> Result<Arc<User>, HandshakeError> {
    let Some(mechanism) = chosen(access, start_ok) else {
        let name = &start_ok.mechanism;
        let text = format!("Login was refused: unknown authentication mechanism '{name}'");
        return refuse(wire, refused(text)).await;
    };
    let address = from.address.ip();
    if mechanism == Mechanism::External {
        let Some(name) = &from.certified else {
            let exception = malformed(SaslError::NoCertificate, connection::StartOk::ID);
            return refuse(wire, exception).await;
        };
        return match access.auth.login_certified(name, address) {
            Ok(user) => Ok(user),
            Err(why) => turn_away(wire, why, mechanism, name).await,
        };
    }
    let credentials = match sasl::opening(mechanism, &start_ok.response) {
        Ok(Opening::Credentials(credentials)) => credentials,
        Ok(Opening::User(user)) => challenge(wire, user).await?,
        Err(error) => {
            let exception = malformed(error, connection::StartOk::ID);
            return refuse(wire, exception).await;
        }
    };
    match access.auth.login(&credentials, address).await {
        Ok(user) => Ok(user),
        Err(why) => turn_away(wire, why, mechanism, &credentials.user).await,
    }
}

/// The mechanism that a client has chosen, if it is listed.
fn chosen(access: &LoginRules, start_ok: &connection::StartOk) -> Option<Mechanism> {
    let mechanism = Mechanism::named(&start_ok.mechanism)?;
    let is_listed = access.mechanisms.contains(&mechanism);
    is_listed.then_some(mechanism)
}

/// Asks a client for its password.
async fn challenge(wire: &mut Wire, user: String) -> Result<Credentials, HandshakeError> {
    let secure = connection::Secure {
        challenge: Bytes::from_static(CHALLENGE),
    };
    wire.send(&secure).await?;
    let response = match next_method(wire).await? {
        Method::ConnectionSecureOk(secure_ok) => secure_ok.response,
        other => return refuse(wire, unexpected(&other)).await,
    };
    match sasl::answer(user, &response) {
        Ok(credentials) => Ok(credentials),
        Err(error) => refuse(wire, malformed(error, connection::SecureOk::ID)).await,
    }
}

/// The log learns more than the client.
async fn turn_away<T>(
    wire: &mut Wire,
    why: Refused,
    mechanism: Mechanism,
    user: &str,
) -> Result<T, HandshakeError> {
    let exception = refused(why.explanation(mechanism, user));
    let _told_too = refuse::<()>(wire, exception).await;
    Err(HandshakeError::Refused(format!(
        "login of \"{user}\": {why}"
    )))
}

fn refused(text: String) -> Exception {
    Exception::new(ReplyCode::AccessRefused, text).at(MethodId::NONE)
}

fn malformed(error: SaslError, method: MethodId) -> Exception {
    Exception::new(ReplyCode::SyntaxError, error.to_string()).at(method)
}
