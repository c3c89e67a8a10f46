internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation

struct BootstrapCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bootstrap", abstract: "Give a new machine everything back, from a store and an identity alone.",
        discussion: """
            Examples:
              drp bootstrap --store /mnt/vault --identity recovery.key
              drp bootstrap --store paris.yaml --identity recovery.key --to /srv/drp
              drp bootstrap --store /mnt/vault --identity recovery.key --at 12

            Fleet file, secrets, journal and writer keys come out of the newest bundle that is whole; what was backed up after it
            is taken over from the stores. FOLDER gets fleet.yaml, state and secrets, and holds none of them yet. Runs that the
            lost machine was at work on wait, and can be resumed. Anybody who knows the recipients can make a bundle: compare
            head and fingerprints with the recovery sheet before anything else. --store takes a folder, or a YAML file like:
              s3: {endpoint: https://s3.example, bucket: backups, region: par, access: {file: access}, secret: {file: secret}}
            """)

    @Option(
        name: .long,
        help: ArgumentHelp("A store's folder, or a YAML file that says how to reach it.", valueName: "store"))
    var store: String

    @OptionGroup var identity: IdentityOption

    @Option(name: .long, help: ArgumentHelp("Where everything comes to lie.", valueName: "folder"))
    var to = "."

    @Option(name: .long, help: ArgumentHelp("`latest` or a bundle's number.", valueName: "bundle"))
    var at = "latest"

    @Option(
        name: .long,
        help: ArgumentHelp(
            "HASH or NUMBER:HASH of the journal's head, noted earlier: it must be in it.", valueName: "hash"))
    var head: NotedHead?

    @Flag(name: .long, help: "Answer as JSON.")
    var json = false

    func validate() throws {
        if at != "latest" && Int(at) == nil { throw ValidationError("--at takes `latest` or a bundle's number.") }
    }

    func run() async throws {
        let identity = try RecoveryIdentity.read(identity.identity)
        let settings = try Self.settings(store)
        let folder = Self.absolute(to)
        var storeFolder: String?
        if case .folder(let path) = settings.kind { storeFolder = path }
        let bootstrap = Bootstrap(
            store: try await Composition.openStore(settings), storeFolder: storeFolder, identity: identity,
            folder: folder, clock: SystemClock(), open: Composition.openStore)
        let report = try await bootstrap.run(at: Int(at), noted: head)
        let answer = BootstrapAnswer(report, folder: folder, identity: Self.absolute(self.identity.identity))
        try Output.answer(answer, json: json)
        if answer.isPartial { throw ExitStatus(.partial) }
    }

    private static func settings(_ store: String) throws -> StoreSettings {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: store, isDirectory: &isFolder) else {
            throw UsageError(
                "there is no store or file \(store)", advice: "Name the folder of a store, or a YAML file.")
        }
        guard let name = StoreName("store") else { preconditionFailure("not a name") }
        guard isFolder.boolValue else { return try FleetReader.loadStore(store, named: name) }
        return FleetReader.store(inFolder: absolute(store), named: name)
    }

    private static func absolute(_ path: String) -> String {
        URL(fileURLWithPath: path).standardizedFileURL.path
    }
}

extension NotedHead: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}

struct BootstrapAnswer: Answer {
    struct Catalog: Encodable {
        var client: ClientID
        var store: StoreName
        /// Backups that are newer than the bundle.
        var adopted: [Int]
    }

    struct Skipped: Encodable {
        var bundle: Int
        var code: ErrorCode
        var message: String
    }

    /// Absent if an earlier run had brought everything back already.
    var bundle: Int?
    var store: StoreName?
    var made: Date?
    var program: String?
    var fleet: String?
    var head: BundleIndex.Head?
    var keys: [BundleIndex.Keys] = []
    var fleetFile: String
    var folder: String
    var secrets = 0
    var lacks: [String] = []
    var skipped: [Skipped] = []
    var catalog: [Catalog] = []
    var erased: [ClientID] = []
    var runs: [RunID] = []
    var problems: [BackupProblem] = []
    var next: [String] = []

    var isPartial: Bool { !skipped.isEmpty || !problems.isEmpty || !lacks.isEmpty }

    init(_ report: Bootstrap.Report?, folder: String, identity: String) {
        self.folder = folder
        let isFolder =
            report?.isFolder ?? !FileManager.default.fileExists(atPath: "\(folder)/fleet.yaml")
        fleetFile = isFolder ? "\(folder)/fleet" : "\(folder)/fleet.yaml"
        let fleetOption = isFolder ? " --fleet fleet" : ""
        let client = report?.index.keys.first?.client.text ?? "CLIENT"
        next = [
            "cd \(folder)", "drp check\(fleetOption)",
            "drp restore run \(client) --target new.yaml --identity \(identity)\(fleetOption)",
            "drp migrate run \(client) --to SITE --identity \(identity) --confirm \(client)\(fleetOption)",
        ]
        guard let report else { return }
        bundle = report.number
        store = report.index.store
        made = report.index.at
        program = report.index.program
        fleet = report.index.fleet
        head = report.index.head
        keys = report.index.keys
        secrets = report.secrets
        lacks = report.lacks
        skipped = report.damaged.map { number, error in
            Skipped(bundle: number, code: Fault(error).code, message: Fault(error).text)
        }
        erased = report.erased
        runs = report.runs
        next += runs.map { "drp runs resume \($0) --identity \(identity)\(fleetOption)" }
        for (client, found) in report.catalog {
            for result in found {
                switch result.outcome {
                case .success(let found):
                    catalog.append(Catalog(client: client, store: result.store, adopted: found.change.adopted))
                case .failure(let error):
                    problems.append(BackupProblem(client: client, store: result.store, error))
                }
            }
        }
        problems += report.problems.map { BackupProblem(client: $0.client, store: nil, $0.error) }
    }

    var text: String {
        guard let bundle, let store, let made, let head else {
            return
                (["\(folder) holds everything already: an earlier run brought it back", "next:"]
                + next.map { "  \($0)" }).joined(separator: "\n")
        }
        var lines = skipped.map {
            "bundle \($0.bundle) was passed over: \(Text.safe($0.message)) [\($0.code.rawValue)]"
        }
        lines.append(
            "bundle \(bundle) of store \(store), made \(Text.shortTime(made)) by drp \(Text.safe(program ?? "?")), "
                + "of fleet \(Text.safe(fleet ?? "?"))")
        lines.append("")
        lines.append("head of event \(head.number)  \(head.hash)")
        let rows = keys.flatMap { key in
            key.epochs.map { ["\(key.client)", "epoch \($0.epoch)", Text.safe($0.fingerprint)] }
        }
        if !rows.isEmpty { lines.append(Text.table(rows)) }
        lines += [
            "Compare them with the recovery sheet before you go on: who can write to the store and knows the",
            "recipients can make a bundle of their own.", "",
        ]
        let counted = catalog.reduce(0) { $0 + $1.adopted.count }
        lines.append(
            Text.table([
                ["fleet", fleetFile], ["state", "\(folder)/state"], ["secrets", "\(secrets) in \(folder)/secrets"],
                ["backups", "\(counted) newer than the bundle were taken over"],
            ]))
        lines += lacks.map { "LACKS \(Text.safe($0)): the lost machine could not read it either" }
        lines += problems.map(\.text)
        lines += erased.map {
            "client \($0) was erased since: its keys did not come back; take it out of the fleet file"
        }
        lines += runs.map { "run \($0) waits: it can be resumed" }
        return (lines + ["next:"] + next.map { "  \($0)" }).joined(separator: "\n")
    }
}
