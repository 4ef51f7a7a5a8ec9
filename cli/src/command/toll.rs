//! `nettoll toll`: what the pod networks cost between two nodes.

use nettoll_core::{
    api::{Inventory, Job, TollJob},
    report::TestType,
    whole,
};

use super::{output, run};
use crate::{client, failure::Failure, render::text};

/// Two nodes, and how long is measured between them.
#[derive(Debug, clap::Args)]
pub(super) struct Between {
    /// The client's node [default: the inventory's first]
    #[arg(long, value_name = "NAME")]
    pub(super) from_node: Option<String>,
    /// The server's node [default: the inventory's next]
    #[arg(long, value_name = "NAME")]
    pub(super) to_node: Option<String>,
    /// Measured time of one run over all its rounds
    #[arg(long, default_value = "5", value_name = "N", value_parser = seconds)]
    pub(super) seconds: f64,
    /// Pairs of rounds in which a path is compared with its baseline
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = whole(10..=1000))]
    pub(super) pairs: u32,
}

/// Arguments of `nettoll toll`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    client: client::ControllerArgs,
    #[command(flatten)]
    between: Between,
    /// The pod network: a name, 'both' for all of them, or 'default' (all for path_cost, vxlan
    /// for the other tests)
    #[arg(long, default_value = "default", value_name = "NAME")]
    network: String,
    /// The tests, separated by commas: tcp_stream, tcp_reverse, udp_stream (as fast as possible),
    /// tcp_rr, udp_rr, path_cost
    #[arg(
        long,
        default_value = "path_cost,tcp_rr,tcp_stream",
        value_delimiter = ',',
        value_name = "LIST"
    )]
    tests: Vec<TestType>,
    /// Stack samples per second and CPU
    #[arg(long, default_value_t = 997, value_name = "N", value_parser = whole(1..=10_000))]
    sample_hz: u32,
    #[command(flatten)]
    output: output::OutputArgs,
}

/// Measures and shows.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let Args {
        client,
        between,
        network,
        mut tests,
        sample_hz,
        output,
    } = args;
    output.prepare()?;
    tests.sort_by_key(|test| *test != TestType::PathCost);
    tests.dedup();
    run::interruptible(async {
        let client = client.client().await?;
        let inventory = client.inventory().await?;
        let Networks { path_cost, others } = networks(&network, &inventory)?;
        let job = TollJob {
            from_node: between.from_node,
            to_node: between.to_node,
            path_cost_networks: path_cost,
            networks: others,
            tests,
            seconds: between.seconds,
            pairs: between.pairs,
            sample_hz,
        };
        run::job(&client, &Job::Toll(job), &output, text::report).await
    })
}

/// Seconds of a run: above zero, at most a day.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("give seconds above 0 and at most 86400".to_owned()),
    }
}

/// The pod networks of a job.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Networks {
    path_cost: Vec<String>,
    others: Vec<String>,
}

impl Networks {
    /// Those of a test.
    pub(super) fn of(&self, test: TestType) -> &[String] {
        match test {
            TestType::PathCost => &self.path_cost,
            _ => &self.others,
        }
    }
}

/// What a `--network` means in an inventory.
pub(super) fn networks(asked: &str, inventory: &Inventory) -> Result<Networks, Failure> {
    let all = &inventory.networks;
    let Some(first) = all.first() else {
        return Err(Failure::Prerequisite(
            "the controller's inventory names no pod network: add one to its 'networks'".to_owned(),
        ));
    };
    let one = |name: &String| vec![name.clone()];
    match asked {
        "default" => {
            let usual = all.iter().find(|name| *name == "vxlan").unwrap_or(first);
            Ok(Networks {
                path_cost: all.clone(),
                others: one(usual),
            })
        }
        "both" => Ok(Networks {
            path_cost: all.clone(),
            others: all.clone(),
        }),
        name => match all.iter().find(|known| *known == name) {
            Some(name) => Ok(Networks {
                path_cost: one(name),
                others: one(name),
            }),
            None => Err(Failure::Prerequisite(format!(
                "there is no pod network '{name}' here; --network takes default, both, {}",
                all.join(", ")
            ))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(networks: &[&str]) -> Inventory {
        let networks = networks.iter().map(|name| (*name).to_owned()).collect();
        Inventory {
            networks,
            nodes: Vec::new(),
            services: Vec::new(),
        }
    }

    fn asked(asked: &str, known: &[&str]) -> (Vec<String>, Vec<String>) {
        let networks = networks(asked, &inventory(known)).unwrap();
        (networks.path_cost, networks.others)
    }

    #[test]
    fn networks_follow_the_inventory() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let lab = ["host-gw", "vxlan"];
        assert_eq!(asked("default", &lab), (names(&lab), names(&["vxlan"])));
        assert_eq!(asked("both", &lab), (names(&lab), names(&lab)));
        assert_eq!(
            asked("host-gw", &lab),
            (names(&["host-gw"]), names(&["host-gw"]))
        );
        assert_eq!(
            asked("default", &["cilium"]),
            (names(&["cilium"]), names(&["cilium"]))
        );
    }

    #[test]
    fn an_unknown_network_is_told_the_known_ones() {
        let error = networks("geneve", &inventory(&["vxlan", "host-gw"])).unwrap_err();
        assert!(
            error.to_string().ends_with("default, both, vxlan, host-gw"),
            "{error}"
        );
        assert!(networks("default", &inventory(&[])).is_err());
    }

    #[test]
    fn seconds_are_checked() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for text in ["0", "-1", "nan", "inf", "x"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
