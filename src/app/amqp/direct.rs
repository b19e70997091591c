//! The direct way, asked from within: what answers over the broker are compared with.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{api::Discover, http::InProcessClient, transport::amqp::DirectAnswers};

/// The direct way's answers, by our own routes.
#[derive(Debug)]
pub(in crate::app) struct AskedDirectly(pub(in crate::app) InProcessClient);

impl DirectAnswers for AskedDirectly {
    fn discover<'a>(&'a self, name: &'a str, wanted: &'a Discover) -> BoxFuture<'a, Option<Bytes>> {
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let path = format!("/services/discover/{name}?{}", wanted.to_query());
        Box::pin(async move { self.0.get(&path).await })
    }

    fn instance<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<Bytes>> {
        let id = utf8_percent_encode(id, NON_ALPHANUMERIC);
        let path = format!("/services/{id}");
        Box::pin(async move { self.0.get(&path).await })
    }
}
