//! `nettoll flame`: where the CPU was while a path was under load.

use std::io::{IsTerminal as _, stdout};

use nettoll_core::{
    api::{Job, ProbeMode, TestJob},
    endpoint::Endpoint,
    report::{Options, TestType},
    whole,
};

use super::{
    run::{self, RunId},
    toll::seconds,
};
use crate::{
    client,
    failure::{Failure, print},
    progress::Progress,
    render::{Rendering, flame, pprof, view},
};

/// Arguments of `nettoll flame`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  nettoll flame --from pod/lab/n1-a --to pod/lab/n2-a > flame.svg
  nettoll flame --from pod/lab/n1-a --to pod/lab/n2-a --diff > diff.svg
  nettoll flame --run pod-to-pod-pods-tcp_stream-1-9f86d081 -o folded > stacks.folded
  nettoll flame --from pod/lab/n1-a --to pod/lab/n2-a -o pprof > run.pb.gz
  go tool pprof -top -tagfocus component=encap run.pb.gz")]
pub(crate) struct Args {
    #[command(flatten)]
    client: client::ControllerArgs,
    /// A run that was measured before and sampled: its id is in reports and in annotations
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "to"])]
    run: Option<RunId>,
    /// Where the client's socket lives: node/NAME, pod/NAMESPACE/NAME, netns/NAME
    #[arg(
        long,
        value_name = "ENDPOINT",
        required_unless_present = "run",
        requires = "to"
    )]
    from: Option<Endpoint>,
    /// Where the server's socket lives; also service/NAMESPACE/NAME[:PORT][@NODE]
    #[arg(
        long,
        value_name = "ENDPOINT",
        required_unless_present = "run",
        requires = "from"
    )]
    to: Option<Endpoint>,
    /// The pod network [default: the inventory's first]
    #[arg(long, value_name = "NAME", conflicts_with = "run")]
    network: Option<String>,
    /// The traffic: tcp_stream, tcp_reverse, udp_stream, tcp_rr, udp_rr or path_cost
    #[arg(
        long = "type",
        default_value = "tcp_stream",
        value_name = "TEST",
        conflicts_with = "run"
    )]
    test: TestType,
    /// Measured time
    #[arg(long, default_value = "5", value_name = "N", value_parser = seconds, conflicts_with = "run")]
    seconds: f64,
    /// Stack samples per second and CPU
    #[arg(long, default_value_t = 997, value_name = "N", conflicts_with = "run", value_parser = whole(1..=10_000))]
    sample_hz: u32,
    /// A stream beside its baseline: red is what the path does more
    #[arg(long)]
    diff: bool,
    /// What to write to standard output
    #[arg(short, long, value_enum, default_value = "svg", value_name = "FORMAT")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A picture for browsers
    Svg,
    /// Stacks for other tools, `thread;outermost;…;innermost COUNT` a line
    Folded,
    /// A profile for `go tool pprof`, Pyroscope and their like, compressed
    Pprof,
}

/// Measures, or asks for what was measured, and draws.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let Args {
        client,
        run: asked,
        from,
        to,
        network,
        test,
        seconds,
        sample_hz,
        diff,
        output,
    } = args;
    let file = match output {
        Format::Svg => Some("flame.svg"),
        Format::Pprof => Some("run.pb.gz"),
        Format::Folded => None,
    };
    if let Some(file) = file
        && stdout().is_terminal()
    {
        return Err(Failure::Prerequisite(format!(
            "this is nothing for a terminal: add '> {file}', or -o folded"
        )));
    }
    if diff && output != Format::Svg {
        return Err(Failure::Prerequisite(
            "a difference is a picture: leave out -o, or --diff".to_owned(),
        ));
    }
    run::interruptible(async {
        let client = client.client().await?;
        let (rendering, id) = match (asked, from, to) {
            (Some(id), _, _) => (run::kept(&client, &id).await?, id.to_string()),
            (None, Some(from), Some(to)) => {
                let job = TestJob {
                    from: from.clone(),
                    to: to.clone(),
                    network,
                    test,
                    options: Options {
                        seconds,
                        sample_hz,
                        ..Options::default()
                    },
                    against: None,
                    probe: ProbeMode::On,
                };
                let job = Job::Test(job);
                let rendering = run::measured(&client, &job, &mut Progress::new()).await?;
                let mut runs = rendering.report.runs.iter();
                let run = runs.find(|run| run.path.from == from && run.path.to == to);
                let id = run.map(|run| run.id.clone()).unwrap_or_default();
                (rendering, id)
            }
            // clap asks for either.
            (None, _, _) => return Ok(()),
        };
        print(drawn(&rendering, &id, output, diff)?)
    })
}

fn drawn(rendering: &Rendering, id: &str, output: Format, diff: bool) -> Result<Vec<u8>, Failure> {
    let run = view::run(&rendering.report, id);
    let (Some(run), Some(folded)) = (run, rendering.folded.get(id)) else {
        return Err(Failure::Run(format!("there are no stacks of run '{id}'")));
    };
    match output {
        Format::Folded => return Ok(folded.clone().into_bytes()),
        Format::Pprof => return Ok(pprof::profile(run, folded)),
        Format::Svg => {}
    }
    let drawn = if diff {
        flame::difference(rendering)
    } else {
        flame::graph(run, folded)
    };
    let flame = drawn.map_err(|error| Failure::Run(error.to_string()))?;
    flame.map(|flame| flame.svg.into_bytes()).ok_or_else(|| {
        Failure::Run(match diff {
            true => format!("run '{id}' is no sampled stream with a baseline of its own"),
            false => format!("no stack was sampled in run '{id}'"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_sampled_run_is_drawn() {
        let rendering = sample::rendering();
        let (id, folded) = rendering.folded.iter().next().unwrap();
        assert_eq!(
            drawn(&rendering, id, Format::Folded, false).unwrap(),
            folded.as_bytes()
        );
        let text = |diff| {
            let svg = drawn(&rendering, id, Format::Svg, diff).unwrap();
            String::from_utf8(svg).unwrap()
        };
        let svg = text(false);
        assert!(svg.contains("<svg ") && svg.contains("CPU of"));
        let diff = text(true);
        assert!(diff.contains("red = more in the path"));
    }

    #[test]
    fn what_was_not_sampled_is_told() {
        let mut rendering = sample::rendering();
        let error = drawn(&rendering, "x", Format::Svg, false).unwrap_err();
        assert!(error.to_string().contains("no stacks of run 'x'"));
        // A run whose baseline has no stacks has no difference.
        let id = rendering.folded.keys().next().unwrap().clone();
        rendering.report.tolls.clear();
        let error = drawn(&rendering, &id, Format::Svg, true).unwrap_err();
        assert!(error.to_string().contains("no sampled stream"), "{error}");
    }
}
