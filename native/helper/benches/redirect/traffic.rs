//! The cost of redirects for connections of the user and of others.

use std::net::SocketAddr;

use crate::{
    environment::{Environment, OTHER_SESSION, RunAs, SERVICE, SESSION},
    set_up::{Life, Method, Nft, POD},
    stopwatch::Stopwatch,
    table::{Series, in_turns, section},
};

/// What is installed during a measurement: nothing, nothing again (to show the noise), the helper,
/// or a NAT rule.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Bare,
    BareAgain,
    Helper,
    Nft,
}

const STAGES: [Stage; 4] = [Stage::Bare, Stage::BareAgain, Stage::Helper, Stage::Nft];

/// Connections of one process to one address at one stage.
struct Path {
    stage: Stage,
    to: SocketAddr,
    connects: Series,
    round_trips: Series,
}

impl Path {
    fn new(stage: Stage, to: SocketAddr, name: &str) -> Self {
        Self { stage, to, connects: Series::new(name), round_trips: Series::new(name) }
    }
}

/// A process and its paths.
struct Subject {
    name: &'static str,
    stopwatch: Stopwatch,
    paths: Vec<Path>,
}

impl Subject {
    fn new(environment: &Environment, name: &'static str, run_as: &RunAs) -> Self {
        let stopwatch = Stopwatch::start(environment, run_as);
        let names = ["no redirects", "no redirects, again", "helper", "nft rule"];
        let path = |(stage, name)| Path::new(stage, stopwatch.listener, name);
        let paths = STAGES.into_iter().zip(names).map(path).collect();
        Self { name, stopwatch, paths }
    }

    /// Adds a redirected path.
    fn redirected(mut self) -> Self {
        let to = POD[1].parse().unwrap();
        self.paths.push(Path::new(Stage::Helper, to, "helper, redirected connection"));
        self.paths.push(Path::new(Stage::Nft, to, "nft rule, redirected connection"));
        self
    }

    fn measure(&mut self, stage: Stage) {
        let mut paths: Vec<_> = self.paths.iter_mut().filter(|path| path.stage == stage).collect();
        let addresses: Vec<_> = paths.iter().map(|path| path.to).collect();
        let measured = self.stopwatch.traffic(&addresses);
        for (path, [connects, round_trips]) in paths.iter_mut().zip(measured) {
            path.connects.push(connects);
            path.round_trips.push(round_trips);
        }
    }

    fn sections(&self) -> String {
        let part = |what, series: fn(&Path) -> &Series| {
            let all: Vec<_> = self.paths.iter().map(series).collect();
            section(&format!("{what}, {}", self.name), &all)
        };
        part("connect()", |path| &path.connects)
            + &part("round trip of 64 bytes", |path| &path.round_trips)
    }
}

/// Measures all subjects at each stage, in each round.
pub fn measure(environment: &Environment, rounds: usize) -> String {
    let (user, other, root) = (RunAs::user(), RunAs::other(), RunAs::root());
    let mut subjects = [
        Subject::new(environment, "the user", &user.within(SESSION)).redirected(),
        Subject::new(environment, "another user in the user's slice", &other.within(SESSION)),
        Subject::new(environment, "root in the user's slice", &root.within(SESSION)),
        Subject::new(environment, "another user in another slice", &other.within(OTHER_SESSION)),
        Subject::new(environment, "root in another slice", &root.within(SERVICE)),
    ];
    let via = subjects[0].stopwatch.listener.port();
    let (mut helper, mut nft) = (Life::new(environment, POD, via), Nft::new(via));
    for round in 0..rounds {
        in_turns(round, &mut STAGES.clone(), |stage| {
            // Starting and stopping leaves caches that cost more than the effect measured here, so
            // they must be the same at each stage.
            if *stage != Stage::Helper {
                helper.set_up();
                helper.tear_down();
            }
            let way: Option<&mut dyn Method> = match stage {
                Stage::Bare | Stage::BareAgain => None,
                Stage::Helper => Some(&mut helper),
                Stage::Nft => Some(&mut nft),
            };
            at_stage(way, || {
                in_turns(round, &mut subjects, |subject| subject.measure(*stage));
            });
        });
    }
    subjects.iter().map(Subject::sections).collect()
}

fn at_stage(way: Option<&mut dyn Method>, work: impl FnOnce()) {
    match way {
        Some(way) => {
            way.set_up();
            work();
            way.tear_down();
        }
        None => work(),
    }
}
