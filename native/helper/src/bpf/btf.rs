//! Reads BTF, the type information of the kernel, for the offsets of structure members:
//! <https://docs.kernel.org/bpf/btf.html>. Every length and index is checked.

use std::io::Read;

use k8s_connect_wire::Refusal;

/// The BTF of the running kernel.
const PATH: &str = "/sys/kernel/btf/vmlinux";
/// Several times the size of the BTF of a kernel.
const MAX_SIZE: u64 = 64 * 1024 * 1024;
const MAGIC: u16 = 0xeb9f;

const PTR: u32 = 2;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
/// Typedef, volatile, const, restrict and type tag: they refer to another type.
const ALIASES: [u32; 5] = [8, 9, 10, 11, 18];
/// Nesting of anonymous members. The kernel has three levels.
const MAX_DEPTH: u32 = 16;

/// Type information.
pub struct Btf {
    bytes: Vec<u8>,
    /// The offset of each type. Type 0 is `void`.
    types: Vec<usize>,
    strings: usize,
}

/// `struct btf_type`
#[derive(Clone, Copy)]
struct Type {
    /// The offset of the data after `struct btf_type`.
    data: usize,
    name: u32,
    kind: u32,
    members: usize,
    bit_fields: bool,
    /// The ID of the type that this type refers to.
    referenced: u32,
}

impl Btf {
    /// Reads the BTF of the running kernel.
    ///
    /// # Errors
    /// [`Refusal::NoBtf`]
    pub fn of_kernel() -> Result<Self, Refusal> {
        let missing = || Refusal::NoBtf { name: PATH.into() };
        let file = std::fs::File::open(PATH).map_err(|_| missing())?;
        let mut bytes = Vec::new();
        file.take(MAX_SIZE).read_to_end(&mut bytes).map_err(|_| missing())?;
        Self::parse(bytes).ok_or_else(missing)
    }

    /// Parses BTF; `None` if it is invalid.
    #[must_use]
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let word = |at| usize::try_from(u32_at(&bytes, at)?).ok();
        if u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let (header, types_at, types_length, strings_at) =
            (word(4)?, word(8)?, word(12)?, word(16)?);
        let mut at = header.checked_add(types_at)?;
        let end = at.checked_add(types_length)?;
        let strings = header.checked_add(strings_at)?;
        let mut btf = Self { bytes, types: vec![0], strings };
        while at < end {
            btf.types.push(at);
            at = btf.read(at)?.end()?;
        }
        Some(btf)
    }

    /// Finds a structure by name.
    ///
    /// # Errors
    /// [`Refusal::NoBtf`]
    pub fn structure(&self, name: &str) -> Result<Structure<'_>, Refusal> {
        let types = self.types.iter().skip(1).filter_map(|at| self.read(*at));
        types
            .filter(|found| found.kind == STRUCT && found.members > 0)
            .find(|found| self.name(found.name) == name)
            .map(|found| Structure { btf: self, found })
            .ok_or_else(|| Refusal::NoBtf { name: name.into() })
    }

    /// The bit offset of the first member for which `matches` returns true.
    fn find(&self, structure: Type, depth: u32, matches: &Matcher) -> Option<u32> {
        for member in 0..structure.members {
            let at = structure.data + 12 * member;
            let (name, kind) = (u32_at(&self.bytes, at)?, u32_at(&self.bytes, at + 4)?);
            let offset = u32_at(&self.bytes, at + 8)?;
            let offset = if structure.bit_fields { offset & 0x00ff_ffff } else { offset };
            let name = self.name(name);
            if matches(self, name, kind) {
                return Some(offset);
            }
            if name.is_empty()
                && depth > 0
                && let Some(inner) = self.resolve(kind)
                && [STRUCT, UNION].contains(&inner.kind)
                && let Some(inside) = self.find(inner, depth - 1, matches)
            {
                return offset.checked_add(inside);
            }
        }
        None
    }

    /// Follows typedefs and qualifiers to the actual type.
    fn resolve(&self, id: u32) -> Option<Type> {
        let mut found = self.type_by_id(id)?;
        for _ in 0..MAX_DEPTH {
            if !ALIASES.contains(&found.kind) {
                return Some(found);
            }
            found = self.type_by_id(found.referenced)?;
        }
        None
    }

    fn type_by_id(&self, id: u32) -> Option<Type> {
        if id == 0 {
            return None;
        }
        self.read(*self.types.get(usize::try_from(id).ok()?)?)
    }

    fn read(&self, at: usize) -> Option<Type> {
        let info = u32_at(&self.bytes, at + 4)?;
        Some(Type {
            data: at + 12,
            name: u32_at(&self.bytes, at)?,
            kind: info >> 24 & 0x1f,
            members: usize::try_from(info & 0xffff).ok()?,
            bit_fields: info >> 31 == 1,
            referenced: u32_at(&self.bytes, at + 8)?,
        })
    }

    fn name(&self, offset: u32) -> &str {
        let start =
            usize::try_from(offset).ok().and_then(|offset| self.strings.checked_add(offset));
        let data = start.and_then(|start| self.bytes.get(start..)).unwrap_or_default();
        let length = data.iter().position(|byte| *byte == 0).unwrap_or(0);
        std::str::from_utf8(&data[..length]).unwrap_or_default()
    }
}

/// A structure of the kernel.
pub struct Structure<'a> {
    btf: &'a Btf,
    found: Type,
}

impl Structure<'_> {
    /// The byte offset of a member. Members of anonymous structures and unions are included, as in
    /// C.
    ///
    /// # Errors
    /// [`Refusal::NoBtf`]
    pub fn offset(&self, member: &str) -> Result<i16, Refusal> {
        self.search(member, &|_, name, _| name == member)
    }

    /// The byte offset of the first member that is a pointer to the structure `pointee`.
    ///
    /// # Errors
    /// [`Refusal::NoBtf`]
    pub fn offset_of_pointer(&self, pointee: &str) -> Result<i16, Refusal> {
        self.search(pointee, &|btf, _, kind| {
            let member = btf.resolve(kind).filter(|member| member.kind == PTR);
            let target = member.and_then(|member| btf.resolve(member.referenced));
            target.is_some_and(|target| target.kind == STRUCT && btf.name(target.name) == pointee)
        })
    }

    fn search(&self, member: &str, matches: &Matcher) -> Result<i16, Refusal> {
        self.btf
            .find(self.found, MAX_DEPTH, matches)
            .and_then(|bits| i16::try_from(bits / 8).ok())
            .ok_or_else(|| Refusal::NoBtf {
                name: format!("{}.{member}", self.btf.name(self.found.name)),
            })
    }
}

/// Decides by the name and type ID of a member.
type Matcher<'a> = dyn Fn(&Btf, &str, u32) -> bool + 'a;

impl Type {
    /// The offset of the next type; `None` if the kind is unknown.
    fn end(&self) -> Option<usize> {
        let length = match self.kind {
            // Integer, variable, declaration tag.
            1 | 14 | 17 => 4,
            // Array.
            3 => 12,
            // Structure, union, data section, 64-bit enumeration.
            4 | 5 | 15 | 19 => 12 * self.members,
            // Enumeration, function prototype.
            6 | 13 => 8 * self.members,
            // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag.
            2 | 7..=12 | 16 | 18 => 0,
            _ => return None,
        };
        Some(self.data + length)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
