/// One file of a fleet, in memory.
package struct FleetFile: Sendable, Hashable {
    /// Relative paths in it begin at its folder.
    package var path: String
    package var bytes: [UInt8]

    package init(path: String, bytes: [UInt8]) {
        self.path = path
        self.bytes = bytes
    }
}

/// Something outside of the fleet file that it names, and where it does.
package struct FleetReference: Sendable, Hashable {
    package enum Target: Sendable, Hashable {
        case secret(SecretSource)
        /// Paths are absolute. A file: certificates of authorities.
        case file(String)
        /// A folder of drp's own: state, store, local site.
        case folder(String)
        case program(String)
    }

    package var file: String
    /// From 1, as `column`, which counts Unicode scalars.
    package var line: Int
    package var column: Int
    /// As it stands there, without quotes; empty for a secret.
    package var text: String
    package var target: Target
    /// Whether it is a part of the secret that is noted after it.
    package var isInner = false
}
