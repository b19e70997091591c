//! Publishes notices under separate routing keys. Notices of the time without a connection are published when
//! there is one again, if they are still kept.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    AmqpError, Link, Usage,
    broker::{Outgoing, Purpose, Unconfirmed, short},
    names,
};
use crate::registry::{NoticeEntry, Notices};

/// How long notices may take at the end of the connection or of the daemon.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// Sends notices until `stop`.
pub(super) async fn run(link: Link, notices: Arc<Notices>, stop: CancellationToken) {
    let mut newest = notices.follow();
    let mut seen = notices.newest();
    loop {
        newest.mark_unchanged();
        if notices.newest() > seen {
            let usage = tokio::select! {
                () = stop.cancelled() => return,
                usage = link.until_up() => usage,
            };
            let sent = tokio::select! {
                () = usage.overdue(&stop, LEAVE_MAX) => return,
                () = usage.gone().cancelled() => Ok(()),
                () = usage.overdue(usage.leaving(), LEAVE_MAX) => Ok(()),
                sent = send(&link, &usage, &notices, &mut seen) => sent,
            };
            drop(usage);
            if let Err(error) = sent {
                tracing::debug!(%error, "notices wait: {error}");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(link.config().backoff_max.get()) => (),
                }
            }
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = newest.changed() => if changed.is_err() { return },
        }
    }
}

async fn send(
    link: &Link,
    usage: &Usage,
    notices: &Notices,
    seen: &mut u64,
) -> Result<(), AmqpError> {
    let within = link.config().answer_timeout;
    let mut channel = usage.open(Purpose::SendConfirmed).await?;
    for notice in notices.since(*seen) {
        channel.publish(outgoing(&notice));
        let confirmed = async {
            match channel.confirmed().await {
                // A notice that a queue refuses is not sent again.
                Ok(_) | Err(Unconfirmed::Refused) => Ok(()),
                Err(Unconfirmed::Ended(error)) => Err(error),
            }
        };
        AmqpError::within("a notice", within.get(), confirmed).await?;
        *seen = notice.number;
    }
    channel.close().await
}

fn outgoing(notice: &NoticeEntry) -> Outgoing {
    let mut outgoing = Outgoing::json(names::EXCHANGE, short(&notice.key), notice.json.clone());
    outgoing.properties.delivery_mode = Some(names::PERSISTENT);
    outgoing.properties.kind = Some(short(notice.event));
    outgoing
}
