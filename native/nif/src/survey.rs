//! A doctor's questions, one function each; what they are asked about is kept between them.

use std::{sync::Arc, time::Duration};

use k8s_connect_core::{Error, attach::Wish, cluster::Cluster, config, link::Link, survey, target};
use rustler::{Atom, Encoder, Env, NifMap, NifResult, Reference, Resource, ResourceArc, Term};

use crate::{
    encode,
    options::{ApiOptions, AttachOptions},
    reply, session,
};

/// A cluster, as a user.
pub struct Survey {
    cluster: Arc<Cluster>,
}

/// A pod of it.
pub struct SurveyedPod {
    cluster: Arc<Cluster>,
    facts: survey::Facts,
}

/// A link to the pod; it ends with the resource.
pub struct SurveyedLink {
    pod: ResourceArc<SurveyedPod>,
    link: Link,
}

#[rustler::resource_impl]
impl Resource for Survey {}

#[rustler::resource_impl]
impl Resource for SurveyedPod {}

#[rustler::resource_impl]
impl Resource for SurveyedLink {}

impl Drop for SurveyedLink {
    fn drop(&mut self) {
        self.link.close();
    }
}

#[derive(NifMap)]
struct Access {
    survey: ResourceArc<Survey>,
    files: Vec<String>,
    context: String,
    namespace: String,
    server: String,
    login: String,
    /// Its host and port, and what has named it.
    proxy: Option<(String, String)>,
}

#[derive(NifMap)]
struct Server {
    version: String,
    /// How long the last run of the login's plugin took.
    login_us: Option<u64>,
    first_us: u64,
    warm_us: Vec<u64>,
    ahead_ms: Option<i64>,
}

#[derive(NifMap)]
struct Pod {
    survey: ResourceArc<SurveyedPod>,
    name: String,
    uid: String,
    ip: Option<String>,
    /// Why it cannot be connected to.
    problem: Option<Reason>,
    leaving: bool,
    named: bool,
    others: Vec<String>,
    container: String,
    why: String,
    image: String,
    ready: bool,
    restarts: i32,
    ended: Option<(i64, String)>,
    refers_to: Vec<(String, String)>,
}

#[derive(NifMap)]
struct Linked {
    link: ResourceArc<SurveyedLink>,
    what: String,
    took_us: u64,
}

#[derive(NifMap)]
struct Found {
    name: String,
    port: u16,
    source: String,
    expected: Option<String>,
}

/// A failure that is an answer: `{stage, {kind, details}}`.
struct Reason(Error);

impl Encoder for Reason {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        encode::failure(env, &self.0)
    }
}

impl<'a> rustler::Decoder<'a> for Reason {
    fn decode(_term: Term<'a>) -> NifResult<Self> {
        Err(rustler::Error::BadArg)
    }
}

/// `{reference, {:ok, access}}`
#[rustler::nif]
fn survey(env: Env, reference: Reference, options: ApiOptions) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let (source, selection, timeout) = options.into_parts();
        let access = config::resolve(&source, selection).await?;
        let cluster = session::cluster(access, timeout)?;
        let files = config::files(&source);
        Ok(Access {
            files: files.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
            context: cluster.context().into(),
            namespace: cluster.namespace().into(),
            server: cluster.server(),
            login: survey::login(&cluster),
            proxy: cluster.proxy().map(|(proxy, from)| (proxy, from.into())),
            survey: ResourceArc::new(Survey { cluster }),
        })
    })
}

/// `{reference, {:ok, server}}`
#[rustler::nif]
fn survey_server(env: Env, reference: Reference, survey: ResourceArc<Survey>) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let server = survey::server(&survey.cluster).await?;
        Ok(Server {
            version: server.version,
            login_us: survey.cluster.login().took.map(micros),
            first_us: micros(server.first),
            warm_us: server.warm.into_iter().map(micros).collect(),
            ahead_ms: server.ahead_ms,
        })
    })
}

/// `{reference, {:ok, {name, groups} | nil}}`
#[rustler::nif]
fn survey_user(env: Env, reference: Reference, survey: ResourceArc<Survey>) -> NifResult<Atom> {
    reply::spawn(env, reference, async move { Ok(survey::user(&survey.cluster).await?) })
}

/// `{reference, {:ok, [boolean]}}`, one for each `{verb, resource, name | nil}`.
#[rustler::nif]
fn survey_rights(
    env: Env,
    reference: Reference,
    survey: ResourceArc<Survey>,
    rights: Vec<(String, String, Option<String>)>,
) -> NifResult<Atom> {
    let right = |(verb, resource, name)| survey::Right { verb, resource, name };
    let rights = rights.into_iter().map(right).collect();
    reply::spawn(env, reference, async move { Ok(survey::rights(&survey.cluster, rights).await?) })
}

/// `{reference, {:ok, pod}}`
#[rustler::nif]
fn survey_pod(
    env: Env,
    reference: Reference,
    survey: ResourceArc<Survey>,
    target: AttachOptions,
) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let cluster = survey.cluster.clone();
        let facts = survey::pod(&cluster, &Wish::from(target)).await?;
        Ok(pod(cluster, facts))
    })
}

fn pod(cluster: Arc<Cluster>, facts: survey::Facts) -> Pod {
    let metadata = &facts.pod.metadata;
    let refers_to = facts.refers_to.iter().map(|(kind, name)| ((*kind).into(), name.clone()));
    Pod {
        name: target::name_of(&facts.pod),
        uid: metadata.uid.clone().unwrap_or_default(),
        ip: target::ip_of(&facts.pod).map(|ip| ip.to_string()),
        problem: target::check_running(&facts.pod).err().map(|error| Reason(error.into())),
        leaving: metadata.deletion_timestamp.is_some(),
        named: facts.named,
        others: facts.others.clone(),
        container: facts.container.clone(),
        why: facts.why.into(),
        image: facts.image.clone(),
        ready: facts.ready,
        restarts: facts.restarts,
        ended: facts.ended.clone(),
        refers_to: refers_to.collect(),
        survey: ResourceArc::new(SurveyedPod { cluster, facts }),
    }
}

/// `{reference, {:ok, linked}}`
#[rustler::nif]
fn survey_link(
    env: Env,
    reference: Reference,
    pod: ResourceArc<SurveyedPod>,
    target: AttachOptions,
) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let start = std::time::Instant::now();
        let protocol = Wish::from(target).protocol;
        let (link, what) = survey::link(&pod.cluster, &pod.facts, protocol).await?;
        let took_us = micros(start.elapsed());
        Ok(Linked { link: ResourceArc::new(SurveyedLink { pod, link }), what, took_us })
    })
}

/// `{reference, {:ok, [{name, port}]}}`
#[rustler::nif]
fn survey_epmd(env: Env, reference: Reference, link: ResourceArc<SurveyedLink>) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let names = survey::epmd(&link.pod.cluster, &link.pod.facts, &link.link).await?;
        Ok(names.into_iter().map(|entry| (entry.name, entry.port)).collect::<Vec<_>>())
    })
}

/// `{reference, {:ok, found}}`
#[rustler::nif]
fn survey_node(
    env: Env,
    reference: Reference,
    link: ResourceArc<SurveyedLink>,
    target: AttachOptions,
) -> NifResult<Atom> {
    reply::spawn(env, reference, async move {
        let (cluster, facts) = (&link.pod.cluster, &link.pod.facts);
        let found = survey::find(cluster, facts, &link.link, &Wish::from(target)).await?;
        Ok(Found {
            name: found.name,
            port: found.port,
            source: found.source,
            expected: found.expected,
        })
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
