internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation

struct RestoreCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Put a backup into databases.",
        discussion: """
            Examples:
              drp restore plan acme --target new.yaml --identity recovery.key
              drp restore run acme --target new.yaml --identity recovery.key
            """,
        subcommands: [Plan.self, Run.self])

    struct Options: ParsableArguments {
        @Argument(help: ArgumentHelp("The client whose backup it is.", valueName: "client"))
        var client: ClientID

        @Option(name: .long, help: ArgumentHelp("`latest` or a backup's number.", valueName: "backup"))
        var at = "latest"

        @Option(name: .long, help: ArgumentHelp("A YAML file with a `services:` block: where to.", valueName: "file"))
        var target: String?

        @Flag(name: .long, help: "Into the client's own databases, where it lives now.")
        var inPlace = false

        @Flag(name: .long, help: "Drop what the target holds; needs --confirm CLIENT.")
        var replace = false

        @Option(
            name: .long, help: ArgumentHelp("The client's name, for --in-place and --replace.", valueName: "client"))
        var confirm: String?

        @Option(
            name: .long,
            help: ArgumentHelp(
                "Read from this store alone; else from the nearest, and where that fails from the others.",
                valueName: "name"))
        var store: StoreName?

        @OptionGroup var past: PastOption
        @OptionGroup var identity: IdentityOption
        @OptionGroup var common: CommonOptions

        func validate() throws {
            if (target == nil) == !inPlace { throw ValidationError("Give either --target FILE or --in-place.") }
            if at != "latest" && Int(at) == nil { throw ValidationError("--at takes `latest` or a backup's number.") }
        }

        /// - Parameter confirmed: whether the command changes something.
        fileprivate func prepare(_ composition: Composition, confirmed: Bool) async throws -> Prepared {
            let client = try composition.client(client)
            if confirmed && (inPlace || replace) && confirm != client.id.text {
                throw UsageError(
                    "this writes into \(inPlace ? "the client's own databases" : "a target that holds data")",
                    advice: "Give the client's name: --confirm \(client.id)", code: .confirmationMissing)
            }
            let services: Services
            var (site, way): (SiteName?, SiteReach.Way?)
            if let target {
                services = try TargetFile.read(target)
            } else {
                let place = try ClientPlace(
                    client, placement: try await composition.journal.placement(of: client.id))
                (services, site) = (place.services, place.site)
                way = composition.reach.way(into: place.site, host: place.host)
            }
            let found = try await composition.find(
                BackupReference(client: client.id, number: Int(at)), near: site, only: store)
            guard let identity = composition.identity else {
                throw UsageError("no identity", advice: "Give --identity FILE.")
            }
            let reader = try await found.source(identity) { [journal = composition.journal] event in
                Output.note(
                    "store \(event.store) does not give all of backup \(found.manifest.number), another one is asked: "
                        + Text.safe(event.reason))
                // A journal that cannot be written must not end a restore that goes on.
                try? await journal.append(
                    event: "restore.fellover", client: client.id, payload: event.payload(backup: found.manifest.number))
            }
            let databases = try await ClientDatabases(
                services, side: .target, resolver: composition.resolver, way: way)
            return Prepared(
                found: found,
                restore: ClientRestore(
                    client: client.id, manifest: found.manifest, source: reader, target: databases,
                    clock: composition.clock))
        }
    }

    fileprivate struct Prepared {
        var found: FoundBackup
        var restore: ClientRestore
    }

    struct Plan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what a restore would do, and change nothing.",
            discussion: """
                Examples:
                  drp restore plan acme --target new.yaml --identity recovery.key
                """)

        @OptionGroup var options: Options

        func run() async throws {
            let composition = try await options.common.composition(
                identity: options.identity.identity, past: options.past)
            let prepared = try await options.prepare(composition, confirmed: false)
            let state = try await prepared.restore.targetState()
            try Output.answer(
                RestorePlanAnswer(prepared.found, state: state, replace: options.replace), json: options.common.json)
        }
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Restore a backup, then read the target back and compare.",
            discussion: """
                Examples:
                  drp restore run acme --target new.yaml --identity recovery.key
                  drp restore run acme --at 12 --in-place --replace --identity recovery.key --confirm acme
                  drp restore run acme --repository-at 2026-11-25T02:00:00Z --target new.yaml --identity recovery.key

                A target that holds data is refused without --replace. FILE holds what a client has in the fleet file:
                  services:
                    mongo: {uri: {file: new-mongo.uri}}
                    redis: {uri: {file: new-redis.uri}}
                """)

        @OptionGroup var options: Options

        func run() async throws {
            let display = ProgressDisplay(json: options.common.json)
            let composition = try await options.common.composition(
                identity: options.identity.identity, past: options.past, progress: display)
            let prepared = try await options.prepare(composition, confirmed: true)
            let began = composition.clock.now
            let replace = options.replace
            // No end to the lease while this process lives: nothing would refuse what it goes on to write.
            let (restored, comparison) = try await composition.journal.holding("client/\(options.client)") { _ in
                do {
                    try await prepared.restore.run(
                        existing: replace ? .replace : .refuse, progress: composition.progress)
                    display.end()
                    let restored = composition.clock.now
                    let comparison = try await prepared.restore.compare(progress: composition.progress)
                    display.end()
                    try await composition.record(comparison, prepared.found)
                    return (restored, comparison)
                } catch {
                    display.end()
                    await composition.record(failed: error, prepared.found)
                    throw error
                }
            }
            let end = composition.clock.now
            try Output.answer(
                RestoreAnswer(
                    client: options.client, backup: prepared.found.manifest.number, store: prepared.found.store,
                    instant: prepared.found.manifest.instant, comparison: comparison,
                    restoreSeconds: restored.timeIntervalSince(began),
                    compareSeconds: end.timeIntervalSince(restored)),
                json: options.common.json)
            if !comparison.isEqual { throw ExitStatus(.targetDiffers) }
        }
    }
}

extension Composition {
    fileprivate func record(_ comparison: ContentComparison, _ found: FoundBackup) async throws {
        try await journal.append(
            event: "restore.finished", client: found.manifest.name,
            payload: [
                "backup": .integer(Int64(found.manifest.number)), "store": .text(found.store.text),
                "equal": .boolean(comparison.isEqual), "summary": .text(comparison.summary),
            ])
    }

    /// A journal that fails too must not hide why the restore failed.
    fileprivate func record(failed error: any Error, _ found: FoundBackup) async {
        let code = (error as? any DRPError)?.code ?? .failed
        try? await journal.append(
            event: "restore.failed", client: found.manifest.name,
            payload: [
                "backup": .integer(Int64(found.manifest.number)), "store": .text(found.store.text),
                "code": .text(code.rawValue),
            ])
    }
}

struct RestorePlanAnswer: Answer {
    var client: ClientID
    var backup: Int
    var store: StoreName
    var instant: Date
    var bytes: Int64
    var documents: Int64
    var collections: Int
    var keys: Int64
    var target: [String]
    var isRefused: Bool
    var replaces: Bool

    init(_ found: FoundBackup, state: ClientRestore.TargetState, replace: Bool) {
        let manifest = found.manifest
        client = manifest.name
        backup = manifest.number
        store = found.store
        instant = manifest.instant
        bytes = manifest.counters.source
        collections = manifest.mongo?.collections.count ?? 0
        documents = manifest.mongo?.collections.reduce(0) { $0 + $1.digest.count } ?? 0
        keys = manifest.redis?.databases.reduce(0) { $0 + $1.digest.count } ?? 0
        target = state.lines
        isRefused = !state.isEmpty && !replace
        replaces = !state.isEmpty && replace
    }

    var text: String {
        var lines = [
            "would restore \(client)/\(backup) from store \(store), of \(Text.shortTime(instant))",
            "  \(Text.bytes(bytes)): \(Text.count(documents)) documents in \(collections) collections, \(Text.count(keys)) Redis keys",
        ]
        lines += target.map { "  target: \(Text.safe($0))" }
        if isRefused { lines.append("  it would be refused: the target holds data; see --replace") }
        if replaces { lines.append("  everything that the target holds would be dropped first") }
        lines.append("then every collection and database is read back and compared")
        return lines.joined(separator: "\n")
    }
}

struct RestoreAnswer: Answer {
    var client: ClientID
    var backup: Int
    var store: StoreName
    var instant: Date
    var comparison: ContentComparison
    var restoreSeconds: Double
    var compareSeconds: Double

    var text: String {
        var lines = [
            "restored \(client)/\(backup) from store \(store), of \(Text.shortTime(instant)), in "
                + Text.seconds(restoreSeconds),
            "  \(comparison.summary), compared in \(Text.seconds(compareSeconds))",
        ]
        if comparison.expiringKeys > 0 {
            lines.append(
                "  \(Text.count(comparison.expiringKeys)) keys had expired or were about to, and were not compared")
        }
        lines += comparison.differences.prefix(20).map {
            "  DIFFERS \(Text.safe($0.subject)): expected \($0.expected), found \($0.found)"
        }
        return lines.joined(separator: "\n")
    }
}
