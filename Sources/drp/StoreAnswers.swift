internal import Backup
internal import DRPKit
internal import Foundation

/// What a store lacks of a client's backups that another one has.
struct LackingBackups: Encodable {
    var client: ClientID
    var store: StoreName
    var numbers: [Int]

    var text: String { "store \(store) lacks \(client)/\(Text.numbers(numbers)): run `drp store sync \(client)`" }
}

struct StoreListAnswer: Answer {
    struct Row: Encodable {
        var name: StoreName
        var site: SiteName
        var kind: String
        /// The folder, or where on the net.
        var place: String
        var policies: [PolicyName]
        var clients: [ClientID]
        var isReachable: Bool
        var code: ErrorCode?
        var reason: String?
    }

    var stores: [Row] = []

    mutating func add(_ settings: StoreSettings, _ fleet: Fleet, _ failure: (any Error)?) {
        let (kind, place) =
            switch settings.kind {
            case .folder(let path): ("folder", path)
            case .s3(let s3): ("s3", "\(s3.endpoint)/\(s3.bucket)")
            case .azure(let azure): ("azure", "\(azure.endpoint)/\(azure.container)")
            }
        let error = failure.map { $0 as? any DRPError ?? UsageError("\($0)", advice: "", code: .failed) }
        stores.append(
            Row(
                name: settings.name, site: settings.site, kind: kind, place: place,
                policies: fleet.policies.filter { $0.stores.contains(settings.name) }.map(\.name),
                clients: fleet.clientsByPriority.filter { fleet.stores(of: $0).contains(settings) }.map(\.id),
                isReachable: failure == nil, code: error?.code, reason: error?.message))
    }

    var text: String {
        if stores.isEmpty { return "The fleet file has no stores." }
        var lines = [["STORE", "SITE", "KIND", "WHERE", "POLICIES", "CLIENTS", "ANSWERS"]]
        for row in stores {
            lines.append([
                "\(row.name)", "\(row.site)", row.kind, Text.safe(row.place),
                row.policies.map(\.text).joined(separator: ", "), "\(row.clients.count)",
                row.isReachable ? "yes" : "no [\(row.code?.rawValue ?? "")]",
            ])
        }
        let reasons = stores.compactMap { row in row.reason.map { "store \(row.name): \(Text.safe($0))" } }
        return ([Text.table(lines)] + reasons).joined(separator: "\n")
    }
}

struct StoreSyncAnswer: Answer {
    struct Row: Encodable {
        var client: ClientID
        var store: StoreName
        var isNew: Bool
        /// Numbers of the backups that were copied.
        var backups: [Int]
        var packs: Int
        var bytes: Int64
        /// Tombstones, voids, and slices of logs.
        var others: Int
    }

    var stores: [Row] = []
    var problems: [BackupProblem] = []
    private var isDiverged = false

    private enum CodingKeys: String, CodingKey { case stores, problems }

    mutating func add(_ client: ClientID, _ outcomes: [StoreSync.Outcome]) {
        for outcome in outcomes {
            switch outcome.result {
            case .success(let report):
                stores.append(
                    Row(
                        client: client, store: outcome.store, isNew: report.isNew,
                        backups: report.backups.map(\.number), packs: report.packs, bytes: report.bytes,
                        others: report.others))
                for problem in report.problems {
                    if problem.isDivergence { isDiverged = true }
                    add(client, nil, problem.error)
                }
            case .failure(let error): add(client, outcome.store, error)
            }
        }
    }

    /// The same thing may be found by each store that is copied to.
    mutating func add(_ client: ClientID, _ store: StoreName?, _ error: any Error) {
        let named = error as? NamedStoreError
        let problem = BackupProblem(client: client, store: named?.store ?? store, named?.cause ?? error)
        let isKnown = problems.contains {
            $0.client == client && $0.store == problem.store && $0.message == problem.message
        }
        if !isKnown { problems.append(problem) }
    }

    /// nil if everything went well.
    var code: ErrorCode? {
        if isDiverged { return .repositoryDamaged }
        guard let first = problems.first else { return nil }
        return stores.isEmpty && problems.count == 1 ? first.code : .partial
    }

    var text: String {
        var lines = [["CLIENT", "STORE", "COPIED", "PACKS", "BYTES"]]
        for row in stores {
            let copied = row.backups.isEmpty ? (row.others > 0 ? "-" : "nothing lacked") : Text.numbers(row.backups)
            lines.append([
                "\(row.client)", "\(row.store)\(row.isNew ? " (new)" : "")", copied, "\(row.packs)",
                Text.bytes(row.bytes),
            ])
        }
        return ((stores.isEmpty ? [] : [Text.table(lines)]) + problems.map(\.text)).joined(separator: "\n")
    }
}

struct StoreStatsAnswer: Answer {
    struct Row: Encodable {
        var client: ClientID
        var store: StoreName
        var stats: Repository.Stats
        var newest: BackupSummary?
        /// Numbers of backups that other stores have.
        var lacking: [Int]
    }

    var stats: [Row] = []
    var problems: [BackupProblem] = []

    var text: String {
        var lines = [["CLIENT", "STORE", "BACKUPS", "PACKS", "OBJECTS", "BYTES", "NEWEST", "LACKS"]]
        for row in stats {
            lines.append([
                "\(row.client)", "\(row.store)", "\(row.stats.backups)", "\(row.stats.packs)", "\(row.stats.objects)",
                Text.bytes(row.stats.bytes), row.newest.map { "\($0.number), \(Text.shortTime($0.instant))" } ?? "-",
                row.lacking.isEmpty ? "-" : Text.numbers(row.lacking),
            ])
        }
        return ((stats.isEmpty ? [] : [Text.table(lines)]) + problems.map(\.text)).joined(separator: "\n")
    }
}
