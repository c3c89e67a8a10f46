internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation

/// What every command takes.
struct CommonOptions: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("The fleet file, or a folder of them.", valueName: "file"))
    var fleet: String?

    @Flag(name: .long, help: "Answer as JSON.")
    var json = false

    @Flag(name: .long, help: "Log more to stderr.")
    var verbose = false

    func composition(
        identity: String? = nil, past: PastOption? = nil, progress: ProgressDisplay? = nil
    ) async throws -> Composition {
        try await Composition.make(
            fleetFile: fleet, identityFile: identity, isVerbose: verbose, repositoryAt: past?.repositoryAt?.date,
            progress: { [display = progress ?? ProgressDisplay(json: json)] update in
                display.show(
                    "\(update.client): \(update.service.rawValue) \(update.phase)", done: update.done,
                    total: update.total)
            })
    }
}

/// Names the recovery identity that opens backups.
struct IdentityOption: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("The recovery identity that opens backups.", valueName: "file"))
    var identity: String
}

/// Why something is done, for those who come later.
struct ReasonOption: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("Why; for those who come later.", valueName: "text"))
    var reason: String

    func validate() throws {
        let isPlain = reason.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
        guard isPlain, !reason.allSatisfy(\.isWhitespace), reason.count <= Hold.longestReason else {
            throw ValidationError("The reason is one line of 1 to \(Hold.longestReason) characters.")
        }
    }
}

/// Reads backups as the stores held them at a time.
struct PastOption: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "As the stores were then, whatever was deleted or replaced since: 2026-11-25T02:00:00Z.", valueName: "time")
    )
    var repositoryAt: PastTime?
}

/// A moment that lies behind us, in ISO 8601 with its zone.
struct PastTime: ExpressibleByArgument {
    var date: Date

    init?(argument: String) {
        guard let date = try? Date(argument, strategy: .iso8601) else { return nil }
        self.date = date
    }
}

extension ClientID: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}

extension StoreName: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}

extension SiteName: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}

/// A backup on the command line: `acme/12` or `acme/latest`.
struct BackupReference: ExpressibleByArgument {
    var client: ClientID
    /// nil for the newest.
    var number: Int?

    init(client: ClientID, number: Int?) {
        self.client = client
        self.number = number
    }

    init?(argument: String) {
        let parts = argument.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, let client = ClientID(parts[0]) else { return nil }
        self.client = client
        if parts[1] == "latest" { return }
        guard let number = Int(parts[1]), number > 0 else { return nil }
        self.number = number
    }
}

/// Wrong use that only the fleet file reveals.
struct UsageError: DRPError {
    var code: ErrorCode
    var message: String
    var advice: String

    init(_ message: String, advice: String, code: ErrorCode = .usage) {
        self.message = message
        self.advice = advice
        self.code = code
    }
}

extension Composition {
    /// The clients of a command line in order of priority; all of them for an empty list.
    func clients(_ ids: [ClientID]) throws -> [Client] {
        guard !ids.isEmpty else { return fleet.clientsByPriority }
        for id in ids where fleet.client(id) == nil {
            throw UsageError(
                "the fleet file has no client '\(id)'",
                advice: "Clients are: \(fleet.clients.map(\.id.text).sorted().joined(separator: ", ")).")
        }
        return fleet.clientsByPriority.filter { ids.contains($0.id) }
    }

    func client(_ id: ClientID) throws -> Client { try clients([id])[0] }
}
