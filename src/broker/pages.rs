//! The broker's pages for operators, as JSON: lists of views, and rates.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    listing::Listing,
    server::ConnectionView,
    vhost::{BindingView, ChannelView, ConsumerView, ExchangeView, MessageView, QueueView},
};

/// Rates per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerRates)]
pub struct MessageRates {
    /// The span the rates are of.
    pub over_seconds: f64,
    /// Messages published.
    pub published: f64,
    /// Messages given to consumers or to basic.get.
    pub delivered: f64,
    /// Messages acknowledged, or delivered to consumers without acknowledgements.
    pub acked: f64,
}

/// The first messages that wait.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerMessages)]
pub struct MessagesPage {
    /// As many as were asked for.
    pub messages: Vec<MessageView>,
}

/// A page for each list: `{"<list>":[…],"total_count":n}`.
macro_rules! list_pages {
    ($($(#[$doc:meta])* $page:ident as $name:ident { $list:ident: $view:ty })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        #[schema(as = $name)]
        pub struct $page {
            /// As many as were asked for.
            pub $list: Vec<$view>,
            /// How many there are.
            pub total_count: u64,
        }

        impl From<Listing<$view>> for $page {
            fn from(listing: Listing<$view>) -> Self {
                Self {
                    $list: listing.items,
                    total_count: listing.total as u64,
                }
            }
        }
    )*};
}

list_pages! {
    /// Connections.
    ConnectionsPage as BrokerConnections { connections: ConnectionView }
    /// Channels.
    ChannelsPage as BrokerChannels { channels: ChannelView }
    /// Exchanges.
    ExchangesPage as BrokerExchanges { exchanges: ExchangeView }
    /// Queues.
    QueuesPage as BrokerQueues { queues: QueueView }
    /// Bindings.
    BindingsPage as BrokerBindings { bindings: BindingView }
    /// Consumers.
    ConsumersPage as BrokerConsumers { consumers: ConsumerView }
}
