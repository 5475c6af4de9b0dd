//! Events of the protocols, for a verbose caller: from the spans and events of the core only. Those of other
//! crates may have headers in them.

use std::{
    fmt::{self, Write},
    time::{Duration, Instant},
};

use tracing::{
    Dispatch, Id, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Record},
};
use tracing_subscriber::{
    Layer, Registry,
    filter::filter_fn,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

/// An event of a protocol.
pub struct Event {
    pub name: &'static str,
    pub detail: String,
    /// Since the beginning.
    pub at: Duration,
    /// From its beginning to its end, if it has both.
    pub took: Option<Duration>,
}

/// A subscriber that notifies of each event when it ends.
pub fn dispatch(notify: impl Fn(Event) + Send + Sync + 'static) -> Dispatch {
    let of_core =
        filter_fn(|metadata: &Metadata| metadata.target().starts_with("k8s_connect_core"));
    let notifier = Notifier { notify, start: Instant::now() };
    Dispatch::new(Registry::default().with(notifier.with_filter(of_core)))
}

struct Notifier<F> {
    notify: F,
    start: Instant,
}

/// A span that has not ended.
struct OpenSpan {
    since: Instant,
    detail: String,
}

impl<S, F> Layer<S> for Notifier<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: Fn(Event) + Send + Sync + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut detail = String::new();
        attributes.record(&mut Fields(&mut detail));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(OpenSpan { since: Instant::now(), detail });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<OpenSpan>()
        {
            values.record(&mut Fields(&mut open.detail));
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        let mut detail = String::new();
        event.record(&mut Fields(&mut detail));
        self.notify(event.metadata().name(), detail, None);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(span) = context.span(&id)
            && let Some(open) = span.extensions_mut().remove::<OpenSpan>()
        {
            self.notify(span.name(), open.detail, Some(open.since.elapsed()));
        }
    }
}

impl<F: Fn(Event)> Notifier<F> {
    fn notify(&self, name: &'static str, detail: String, took: Option<Duration>) {
        (self.notify)(Event { name, detail, at: self.start.elapsed(), took });
    }
}

/// `key=value`, one after the other.
struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = write!(self.0, "{space}{}={value:?}", field.name());
    }
}
