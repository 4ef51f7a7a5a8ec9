//! Components in families that share a colour: there are more of them than colours that an eye
//! tells apart.

use nettoll_core::component::Component;

/// Components of one kind.
#[derive(Debug)]
pub(crate) struct Family {
    /// Class of its colour in the page's style sheet.
    pub(crate) class: &'static str,
    /// What it is.
    pub(crate) word: &'static str,
    /// A lighter shade of the same colour, which black text is legible on.
    pub(crate) flame: (u8, u8, u8),
    components: &'static [Component],
}

/// The families, in the order in which they are stacked; the last takes all that is in no other.
pub(crate) const FAMILIES: [Family; 6] = [
    Family {
        class: "f-overlay",
        word: "overlay",
        flame: (0xe8, 0x8d, 0x77),
        components: &[Component::Encap, Component::Decap],
    },
    Family {
        class: "f-forward",
        word: "bridge, forwarding, filters",
        flame: (0x82, 0xc9, 0xbd),
        components: &[
            Component::Bridge,
            Component::Netfilter,
            Component::Conntrack,
            Component::Routing,
        ],
    },
    Family {
        class: "f-device",
        word: "devices and softirq",
        flame: (0x9f, 0xc2, 0xea),
        components: &[
            Component::Veth,
            Component::Qdisc,
            Component::Driver,
            Component::GroGso,
            Component::Softirq,
        ],
    },
    Family {
        class: "f-socket",
        word: "protocols and sockets",
        flame: (0xbd, 0xc7, 0xd2),
        components: &[
            Component::Ip,
            Component::Udp,
            Component::Tcp,
            Component::Socket,
            Component::Checksum,
        ],
    },
    Family {
        class: "f-wire",
        word: "data: copies and memory",
        flame: (0xee, 0xcd, 0x80),
        components: &[Component::Copy, Component::Memory],
    },
    Family {
        class: "rest",
        word: "all else",
        flame: (0xe4, 0xe8, 0xec),
        components: &[],
    },
];

/// The number in [`FAMILIES`] of the family that a component is of.
pub(crate) fn family(component: &str) -> usize {
    FAMILIES
        .iter()
        .position(|family| {
            family
                .components
                .iter()
                .any(|known| known.as_str() == component)
        })
        .unwrap_or(FAMILIES.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_component_is_in_two_families() {
        for component in Component::ALL {
            let of = FAMILIES
                .iter()
                .filter(|family| family.components.contains(&component));
            assert!(of.count() <= 1, "{}", component.as_str());
        }
        assert_eq!(FAMILIES[family("encap")].word, "overlay");
        assert_eq!(FAMILIES[family("scheduler")].word, "all else");
    }
}
