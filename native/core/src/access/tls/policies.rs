//! Certificate policies. They matter only below an authority that demands some (`policyConstraints`). Such
//! an authority in combination with renamed policies (`policyMappings`) is not supported.

use super::certificate::Certificate;

/// `anyPolicy`
const ANY: &[u8] = &[0x55, 0x1d, 0x20, 0x00];

/// Whether the policies of a chain are valid, or none are demanded. The chain begins with the server's
/// certificate, and its authority does not count.
pub(super) fn are_valid(chain: &[&Certificate]) -> bool {
    let Some((_, path)) = chain.split_last() else { return true };
    let below = path.len() as u64 + 1;
    let (mut may_be_missing, mut may_be_any) = (below, below);
    // Those that all certificates so far have. At first it is any policy.
    let mut valid: Vec<&[u8]> = vec![ANY];
    let mut mapped = false;
    for (index, certificate) in path.iter().enumerate().rev() {
        let extensions = &certificate.extensions;
        let is_self_issued = certificate.issuer == certificate.subject;
        let any_counts = may_be_any > 0 || (index > 0 && is_self_issued);
        valid = common(&valid, &extensions.policies, any_counts);
        if index > 0 {
            if extensions.maps_any_policy {
                return false;
            }
            mapped |= extensions.maps_policies;
            if !is_self_issued {
                may_be_missing = may_be_missing.saturating_sub(1);
                may_be_any = may_be_any.saturating_sub(1);
            }
            let lower =
                |limit: u64, other: Option<u64>| other.map_or(limit, |other| other.min(limit));
            may_be_missing = lower(may_be_missing, extensions.requires_policy);
            may_be_any = lower(may_be_any, extensions.inhibits_any_policy);
        } else {
            may_be_missing = may_be_missing.saturating_sub(1);
            if extensions.requires_policy == Some(0) {
                may_be_missing = 0;
            }
        }
    }
    may_be_missing > 0 || !(mapped || valid.is_empty())
}

/// The policies of a certificate that are valid above it.
fn common<'a>(above: &[&'a [u8]], own: &[&'a [u8]], any_counts: bool) -> Vec<&'a [u8]> {
    let any_above = above.contains(&ANY);
    let is_valid = |policy: &&&[u8]| **policy != ANY && (any_above || above.contains(*policy));
    let mut valid: Vec<_> = own.iter().filter(is_valid).copied().collect();
    if any_counts && own.contains(&ANY) {
        valid.extend(above.iter().filter(|policy| !own.contains(*policy) || **policy == ANY));
    }
    valid
}
