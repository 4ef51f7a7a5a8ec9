//! Bodies of answers: whole, or a stream of job events as newline-delimited JSON.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use nettoll_core::api::JobEvent;
use tokio::sync::mpsc::Receiver;

/// An answer's body.
pub(crate) enum Body {
    /// Known in full; taken when sent.
    Whole(Option<Bytes>),
    /// One line for each event, sent at once. When the client goes away hyper drops the body,
    /// and so the receiver: that is how a job learns that nobody listens any more.
    Events(Receiver<JobEvent>),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match self.get_mut() {
            Self::Whole(bytes) => bytes.take(),
            Self::Events(events) => ready!(events.poll_recv(cx)).map(|event| line(&event)),
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    /// By which a whole body is sent with its length.
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Events(_) => SizeHint::default(),
        }
    }
}

fn line(event: &JobEvent) -> Bytes {
    let mut line = serde_json::to_vec(event).unwrap_or_else(|error| {
        // Only a figure that is no number could do this, and JSON has none of those.
        let message = format!("cannot write the result: {error}");
        serde_json::json!({ "failed": { "message": message } })
            .to_string()
            .into_bytes()
    });
    line.push(b'\n');
    line.into()
}
