//! Class 10, `connection`: login, limits, the end.

use bytes::Bytes;

use super::spec::class;
use crate::broker::wire::{ShortStr, Table};

class! { 10
    /// Server to client: who the server is and how one may log in.
    10 Start "connection.start" [] {
        /// 0.
        version_major: u8,
        /// 9.
        version_minor: u8,
        /// Name, version and capabilities of the server.
        server_properties: Table,
        /// SASL mechanisms, separated by spaces.
        mechanisms: Bytes,
        /// Languages of texts, separated by spaces.
        locales: Bytes,
    } []
    /// Client to server: who the client is, and its login.
    11 StartOk "connection.start-ok" [] {
        /// Name, version and capabilities of the client.
        client_properties: Table,
        /// The SASL mechanism chosen.
        mechanism: ShortStr,
        /// The mechanism's first response.
        response: Bytes,
        /// The language chosen.
        locale: ShortStr,
    } []
    /// Server to client: a SASL challenge.
    20 Secure "connection.secure" [] {
        /// The challenge.
        challenge: Bytes,
    } []
    /// Client to server: the answer to a challenge.
    21 SecureOk "connection.secure-ok" [] {
        /// The answer.
        response: Bytes,
    } []
    /// Server to client: the limits proposed.
    30 Tune "connection.tune" [] {
        /// The highest number of channels.
        channel_max: u16,
        /// The largest frame, its head and end counted.
        frame_max: u32,
        /// The heartbeat in seconds; 0 for none.
        heartbeat: u16,
    } []
    /// Client to server: the limits agreed.
    31 TuneOk "connection.tune-ok" [] {
        /// The highest number of channels.
        channel_max: u16,
        /// The largest frame, its head and end counted.
        frame_max: u32,
        /// The heartbeat in seconds; 0 for none.
        heartbeat: u16,
    } []
    /// Client to server: opens a virtual host.
    40 Open "connection.open" [] {
        /// The virtual host's name.
        vhost: ShortStr,
    } [ShortStr, bool]
    /// Server to client: the virtual host is open.
    41 OpenOk "connection.open-ok" [] {} [ShortStr]
    /// Either: the connection ends.
    50 Close "connection.close" [] {
        /// Why, as a number.
        reply_code: u16,
        /// Why, in words.
        reply_text: ShortStr,
        /// The class of the method at fault, or 0.
        class_id: u16,
        /// The method at fault, or 0.
        method_id: u16,
    } []
    /// Either: the answer to close.
    51 CloseOk "connection.close-ok" [] {} []
    /// Server to client: publishers are blocked.
    60 Blocked "connection.blocked" [] {
        /// The reason.
        reason: ShortStr,
    } []
    /// Server to client: publishers are not blocked any more.
    61 Unblocked "connection.unblocked" [] {} []
    /// Client to server: a new secret for the login in use.
    70 UpdateSecret "connection.update-secret" [] {
        /// The new secret.
        new_secret: Bytes,
        /// Why, for the log.
        reason: ShortStr,
    } []
    /// Server to client: the new secret is in use.
    71 UpdateSecretOk "connection.update-secret-ok" [] {} []
}
