//! Profiles are read back by a decoder that is not ours.

use std::io::Read as _;

use flate2::read::GzDecoder;
use prost::Message;

use super::*;

/// The part of pprof's `profile.proto` that profiles have.
#[derive(Message)]
pub(crate) struct Decoded {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
}

#[derive(Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

/// A sample's functions, innermost first; its values; its labels.
pub(crate) type Seen = (Vec<String>, [i64; 2], Vec<(String, String)>);

/// Reads a profile.
pub(crate) fn read(file: &[u8]) -> Decoded {
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    Decoded::decode(&*bytes).unwrap()
}

impl Decoded {
    fn text(&self, number: i64) -> String {
        self.string_table[number as usize].clone()
    }

    fn function(&self, location: u64) -> String {
        let location = self.location.iter().find(|it| it.id == location).unwrap();
        let id = location.line[0].function_id;
        let function = self.function.iter().find(|it| it.id == id).unwrap();
        self.text(function.name)
    }

    pub(crate) fn samples(&self) -> Vec<Seen> {
        let seen = |sample: &Sample| {
            let locations = sample.location_id.iter();
            let labels = sample.label.iter();
            (
                locations.map(|&location| self.function(location)).collect(),
                sample.value[..].try_into().unwrap(),
                labels
                    .map(|label| (self.text(label.key), self.text(label.str)))
                    .collect(),
            )
        };
        self.sample.iter().map(seen).collect()
    }
}

#[test]
fn what_goes_in_comes_out() {
    let mut profile = Profile::new();
    let labels = [("path", "pod-to-pod")];
    profile.add(["vxlan_xmit", "ksys_write"], 3, 3_000, &labels);
    profile.add(["ksys_write"], 1, 1_000, &[]);
    let read = read(&profile.encode(1_000));
    let units: Vec<_> = read
        .sample_type
        .iter()
        .chain(&read.period_type)
        .map(|value| (read.text(value.kind), read.text(value.unit)))
        .collect();
    let unit = |kind: &str, unit: &str| (kind.to_owned(), unit.to_owned());
    assert_eq!(
        units,
        [
            unit("samples", "count"),
            unit("cpu", "nanoseconds"),
            unit("cpu", "nanoseconds")
        ]
    );
    assert_eq!(read.period, 1_000);
    assert_eq!(read.string_table[0], "");
    let [outer, inner] = ["ksys_write".to_owned(), "vxlan_xmit".to_owned()];
    assert_eq!(
        read.samples(),
        [
            (
                vec![inner, outer.clone()],
                [3, 3_000],
                vec![("path".to_owned(), "pod-to-pod".to_owned())]
            ),
            (vec![outer], [1, 1_000], vec![])
        ]
    );
    // Each function is there once.
    assert_eq!(read.function.len(), 2);
}

#[test]
fn an_empty_profile_is_one() {
    assert!(read(&Profile::new().encode(1)).samples().is_empty());
}
