//! What the protocols do and when, for a caller who wants to see it: the core's spans and events go to
//! that caller as messages. No other crate's do, as they may have headers in them.

use std::{
    fmt::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{
    Dispatch, Event, Id, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Record},
};
use tracing_subscriber::{
    Layer, Registry,
    filter::filter_fn,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

use crate::reply::Caller;

/// A step of a protocol.
pub struct Trace {
    pub name: &'static str,
    pub detail: String,
    /// Since the beginning.
    pub at: Duration,
    /// From its beginning to its end, where it has both.
    pub took: Option<Duration>,
}

/// Sends each step to the caller, as it ends.
pub fn to(caller: Arc<Caller>) -> Dispatch {
    let ours = filter_fn(|metadata: &Metadata| metadata.target().starts_with("k8s_connect_core"));
    let teller = Teller { caller, start: Instant::now() };
    Dispatch::new(Registry::default().with(teller.with_filter(ours)))
}

struct Teller {
    caller: Arc<Caller>,
    start: Instant,
}

/// What a span has said of itself.
struct Open {
    since: Instant,
    detail: String,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Teller {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut detail = String::new();
        attributes.record(&mut Fields(&mut detail));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Open { since: Instant::now(), detail });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            values.record(&mut Fields(&mut open.detail));
        }
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut detail = String::new();
        event.record(&mut Fields(&mut detail));
        self.tell(event.metadata().name(), detail, None);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(span) = context.span(&id)
            && let Some(open) = span.extensions_mut().remove::<Open>()
        {
            self.tell(span.name(), open.detail, Some(open.since.elapsed()));
        }
    }
}

impl Teller {
    fn tell(&self, name: &'static str, detail: String, took: Option<Duration>) {
        self.caller.trace(&Trace { name, detail, at: self.start.elapsed(), took });
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
