package import DRPKit
internal import Foundation

/// The folder in which a new machine gets everything back. What comes is made in `.drp-bootstrap` in it and moved out at
/// the end, the fleet file last: while that is not there, nothing counts, and a run that was interrupted begins anew.
struct BootstrapFolder: Sendable {
    private static let stagingName = ".drp-bootstrap"
    /// What the staging folder is called once all that was in it is in place.
    private static let doneName = ".drp-bootstrap-done"
    /// An empty file in the staging folder: from here on things move out of it.
    static let movingName = "moving"
    /// In the order in which they come; one of the last two is the fleet.
    private static let names = ["state", "secrets", "files", "runbooks"] + fleets
    private static let fleets = ["fleet", "fleet.yaml"]

    /// Absolute.
    let path: String
    var staging: String { "\(path)/\(Self.stagingName)" }

    enum Condition: Sendable, Equatable {
        /// Nothing of ours is there.
        case free
        /// An earlier run had everything in place and could not say so any more.
        case complete
    }

    /// Makes the folder and an empty one for staging; clears away what an interrupted run left, and nothing else.
    /// - Throws: `BootstrapError` if it holds a fleet, a state, or another of the names.
    func prepare() throws -> Condition {
        let files = FileManager.default
        let done = "\(path)/\(Self.doneName)"
        if Self.exists(done) {
            try files.removeItem(atPath: done)
            return .complete
        }
        if Self.exists(staging) {
            if Self.exists("\(staging)/\(Self.movingName)") {
                // Before it began to move there was none of these: what is not here any more is what it moved.
                let moved = Self.names.filter { !Self.exists("\(staging)/\($0)") && Self.exists("\(path)/\($0)") }
                if moved.contains(where: { Self.fleets.contains($0) }) {
                    try files.removeItem(atPath: staging)
                    return .complete
                }
                for name in moved { try files.removeItem(atPath: "\(path)/\(name)") }
            }
            try files.removeItem(atPath: staging)
        }
        if let name = Self.names.first(where: { Self.exists("\(path)/\($0)") }) {
            throw BootstrapError(.occupied, "\(path)/\(name)")
        }
        try makeFolder(path)
        try makeFolder(staging)
        return .free
    }

    /// Empties the staging folder.
    func restart() throws {
        try FileManager.default.removeItem(atPath: staging)
        try makeFolder(staging)
    }

    /// - Parameter name: below the staging folder; of parts that `Archive.isName` lets through.
    func write(_ name: String, _ bytes: [UInt8], _ rule: AtomicFile.Rule = .createOnly) throws {
        let file = "\(staging)/\(name)"
        try makeFolder((file as NSString).deletingLastPathComponent)
        try AtomicFile.write(file, bytes, mode: 0o600, rule)
    }

    /// Moves everything to its place. Where that fails, the next run clears it away.
    func commit() throws {
        try write(Self.movingName, [])
        for name in Self.names where Self.exists("\(staging)/\(name)") {
            Failpoint.hit("bootstrap.moving")
            try move("\(staging)/\(name)", to: "\(path)/\(name)")
        }
        Failpoint.hit("bootstrap.moved")
        let done = "\(path)/\(Self.doneName)"
        try move(staging, to: done)
        try FileManager.default.removeItem(atPath: done)
        try flush(path)
    }

    /// Nothing that came there meanwhile is replaced.
    private func move(_ old: String, to new: String) throws {
        guard !Self.exists(new) else { throw BootstrapError(.occupied, new) }
        guard rename(old, new) == 0 else {
            throw FileError(.unusable, new, cause: String(cString: strerror(errno)))
        }
        try flush(path)
    }

    private func makeFolder(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw FileError(.denied, path, cause: "the folder cannot be made")
        }
    }

    private func flush(_ folder: String) throws {
        let number = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0 else { throw FileError(.denied, folder) }
        defer { close(number) }
        guard fsync(number) == 0 else { throw FileError(.unusable, folder, cause: String(cString: strerror(errno))) }
    }

    /// A link that leads nowhere is there too.
    private static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }
}

/// Why a machine cannot get everything back there.
package struct BootstrapError: DRPError, Equatable {
    package enum Reason: Sendable, Equatable {
        /// The folder holds a fleet or a state already.
        case occupied
        /// There is no bundle in the store, or none of that number.
        case missing
    }

    package var reason: Reason
    package var subject: String

    init(_ reason: Reason, _ subject: String) {
        self.reason = reason
        self.subject = subject
    }

    package var code: ErrorCode {
        switch reason {
        case .occupied: .targetNotEmpty
        case .missing: .repositoryMissing
        }
    }

    package var message: String {
        switch reason {
        case .occupied: "\(subject) is there already, and nothing is overwritten"
        case .missing: "\(subject) is not in the store"
        }
    }

    package var advice: String {
        switch reason {
        case .occupied: "Name another folder with --to, or move the old fleet and state away yourself."
        case .missing: "Check --store; each `drp backup run` of the lost machine stored a bundle in every store."
        }
    }
}
