//! `nettoll path`: what lies between two endpoints, and how long each part of it takes.

use nettoll_core::{
    api::{Job, ProbeMode, TestJob},
    endpoint::Endpoint,
    report::{Options, TestType},
};

use super::{output, run, toll::seconds};
use crate::{client, failure::Failure, render::text};

/// The two ends of a path.
#[derive(Debug, clap::Args)]
pub(super) struct EndsArgs {
    /// Where the client's socket lives: node/NAME, pod/NAMESPACE/NAME, netns/NAME
    #[arg(long, value_name = "ENDPOINT")]
    pub(super) from: Endpoint,
    /// Where the server's socket lives; also service/NAMESPACE/NAME[:PORT][@NODE]
    #[arg(long, value_name = "ENDPOINT")]
    pub(super) to: Endpoint,
    /// The pod network [default: the inventory's first]
    #[arg(long, value_name = "NAME")]
    pub(super) network: Option<String>,
}

/// Arguments of `nettoll path`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    client: client::ControllerArgs,
    #[command(flatten)]
    ends: EndsArgs,
    /// Measured time, in requests one after the other
    #[arg(long, default_value = "1", value_name = "N", value_parser = seconds)]
    seconds: f64,
    #[command(flatten)]
    output: output::OutputArgs,
}

/// Measures and shows.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let Args {
        client,
        ends: EndsArgs { from, to, network },
        seconds,
        output,
    } = args;
    if let Endpoint::Url(_) = to {
        return Err(Failure::Prerequisite(format!(
            "packets are followed between two nodes, and {to} is on none; for its times use \
             'nettoll test --type http_rr --from {from} --to {to}', in a cluster the annotation \
             nettoll.dev/pair: {to}"
        )));
    }
    let job = TestJob {
        from,
        to,
        network,
        test: TestType::TcpRr,
        options: Options {
            seconds,
            warmup_ms: 0,
            ..Options::default()
        },
        against: None,
        probe: ProbeMode::On,
    };
    output.prepare()?;
    run::interruptible(async {
        let client = client.client().await?;
        run::job(&client, &Job::Test(job), &output, text::path).await
    })
}
