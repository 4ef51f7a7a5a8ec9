//! Events (core/v1) on pods, in plain words.

use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};

use super::client::{ApiError, ask};

/// Who says so.
const COMPONENT: &str = "nettoll-controller";
/// What the API server takes.
const MAX_MESSAGE_BYTES: usize = 1_024;
/// What the API server takes of a name, less what is put behind it.
const MAX_NAME_BYTES: usize = 253 - 17;

/// A pod, as an Event names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// How good the news is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Normal,
    Warning,
}

/// Makes an Event known. Each is an object of its own: they are few.
pub(crate) async fn write(client: &Client, event: &Event) -> Result<(), ApiError> {
    let about = &event.involved_object;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (namespace, name) = (text(&about.namespace), text(&about.name));
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let what = format!("write an Event about pod {namespace}/{name}");
    ask(what, api.create(&PostParams::default(), event)).await?;
    Ok(())
}

/// An Event about a pod, under a name that no other has.
pub(crate) fn event(subject: &Subject, mood: Mood, reason: &str, message: &str) -> Event {
    let Subject {
        namespace,
        name,
        uid,
    } = subject.clone();
    let now = Time(Timestamp::now());
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let unique = since_1970.as_nanos() as u64;
    let own_name = format!("{}.{unique:016x}", cut(&name, MAX_NAME_BYTES));
    Event {
        metadata: ObjectMeta {
            name: Some(own_name),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(namespace),
            name: Some(name),
            uid: Some(uid),
            ..ObjectReference::default()
        },
        type_: Some(match mood {
            Mood::Normal => "Normal".to_owned(),
            Mood::Warning => "Warning".to_owned(),
        }),
        reason: Some(reason.to_owned()),
        message: Some(cut(message, MAX_MESSAGE_BYTES).to_owned()),
        source: Some(EventSource {
            component: Some(COMPONENT.to_owned()),
            ..EventSource::default()
        }),
        reporting_component: Some(COMPONENT.to_owned()),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        count: Some(1),
        ..Event::default()
    }
}

/// At most so many bytes, whole characters.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("abc", 5), "abc");
        assert_eq!(cut("aäb", 2), "a");
        assert_eq!(cut("aäb", 3), "aä");
    }

    #[test]
    fn an_event_names_its_pod() {
        let subject = Subject {
            namespace: "shop".into(),
            name: "cart".into(),
            uid: "u".into(),
        };
        let event = event(
            &subject,
            Mood::Warning,
            "NettollRefused",
            &"x".repeat(2_000),
        );
        assert_eq!(event.involved_object.uid.as_deref(), Some("u"));
        assert!(event.metadata.name.unwrap().starts_with("cart."));
        assert_eq!(event.message.unwrap().len(), 1_024);
    }
}
