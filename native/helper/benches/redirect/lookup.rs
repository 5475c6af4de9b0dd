//! How long it takes to look up the owner of an accepted connection.

use crate::{
    environment::{Environment, RunAs, SESSION},
    set_up::{Life, Method, POD},
    stopwatch::{Stopwatch, many_sockets},
    table::{Series, in_turns, section},
};

const FEW: usize = 10;
/// Per round.
const LOOKUPS: usize = 20;

/// Lookups by the user, of redirected connections.
pub fn measure(environment: &Environment, rounds: usize) -> String {
    let mut user = Stopwatch::start(environment, &RunAs::user().within(SESSION));
    let mut helper = Life::new(environment, POD, user.listener.port());
    helper.set_up();
    let name = |others| format!("with {others} other sockets");
    let mut series = [FEW, many_sockets()].map(|others| (others, Series::new(name(others))));
    // Fewer rounds, because each opens and closes thousands of sockets.
    for round in 0..rounds.div_ceil(5) {
        let mut order: Vec<_> = series.iter_mut().collect();
        in_turns(round, &mut order, |(others, series)| {
            series.push(user.lookups(POD[0].parse().unwrap(), *others, LOOKUPS));
        });
    }
    helper.tear_down();
    section("look up the owner of an accepted connection", &[&series[0].1, &series[1].1])
}
