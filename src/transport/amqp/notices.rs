//! Notices out: what watchers are told besides changes, under its own name. Those that come while there
//! is no connection leave when there is one again, as far as they are still kept.

use std::{sync::Arc, time::Duration};

use lapin::{
    BasicProperties, Channel,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{AmqpError, Link, Session, names};
use crate::registry::{NoticeEntry, Notices};

/// How long notices may take at the end of the connection or of the daemon.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// Passes notices on until told to stop.
pub(super) async fn run(link: Link, notices: Arc<Notices>, stop: CancellationToken) {
    let mut newest = notices.follow();
    let mut seen = notices.newest();
    loop {
        newest.mark_unchanged();
        if notices.newest() > seen {
            let session = tokio::select! {
                () = stop.cancelled() => return,
                session = link.until_up() => session,
            };
            let passed = tokio::select! {
                () = session.overdue(&stop, LEAVE_MAX) => return,
                () = session.gone().cancelled() => Ok(()),
                () = session.overdue(session.leaving(), LEAVE_MAX) => Ok(()),
                passed = pass(&link, &session, &notices, &mut seen) => passed,
            };
            drop(session);
            if let Err(error) = passed {
                tracing::debug!(%error, "notices wait: {error}");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(link.config().backoff_max) => (),
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

async fn pass(
    link: &Link,
    session: &Session,
    notices: &Notices,
    seen: &mut u64,
) -> Result<(), AmqpError> {
    let within = link.config().answer_timeout;
    let channel = session.channel().await?;
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    AmqpError::within("confirm.select", within, confirms).await?;
    for notice in notices.since(*seen) {
        AmqpError::within("a notice", within, publish(&channel, &notice)).await?;
        *seen = notice.number;
    }
    let closed = channel.close(200, "OK".into());
    AmqpError::within("channel.close", within, closed).await
}

async fn publish(channel: &Channel, notice: &NoticeEntry) -> lapin::Result<()> {
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
        .with_type(notice.event.into());
    let sent = channel.basic_publish(
        names::EXCHANGE.into(),
        notice.event.into(),
        BasicPublishOptions::default(),
        &notice.json,
        properties,
    );
    sent.await?.await.map(drop)
}
