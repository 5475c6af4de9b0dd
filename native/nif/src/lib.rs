//! The BEAM's door to [`k8s_connect_core`]: each function takes a reference, returns `:ok` at
//! once, and sends `{reference, result}` to the caller when the work is done.

mod encode;
mod options;
mod reply;
mod runtime;

use k8s_connect_core::{Error, cluster::Cluster, config, pod};
use rustler::{Atom, Env, NifResult, Reference, Term};

use crate::options::ApiOptions;

/// `{reference, {:ok, [%K8sConnect.Pod{}]}}`
#[rustler::nif]
fn list_pods(env: Env, reference: Reference, options: ApiOptions) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let pods = pod::list(&connect(options).await?).await.map_err(Error::from)?;
        Ok(pods.into_iter().map(encode::Pod::from).collect::<Vec<_>>())
    })
}

async fn connect(options: ApiOptions) -> Result<Cluster, Error> {
    let (source, selection, timeout) = options.into_parts();
    let access = config::resolve(&source, selection).await?;
    Ok(Cluster::new(access, timeout)?)
}

/// A library that cannot have its threads is not loaded.
fn load(_env: Env, _info: Term) -> bool {
    runtime::start().is_ok()
}

rustler::init!("Elixir.K8sConnect.Native", load = load);
