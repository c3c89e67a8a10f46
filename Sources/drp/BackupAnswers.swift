internal import Backup
internal import DRPKit
internal import Foundation
internal import Synchronization

/// Adds up bytes that are reported piece by piece, from any thread.
final class ByteMeter: Sendable {
    private let sum = Mutex<Int64>(0)
    func add(_ bytes: Int64) -> Int64 {
        sum.withLock { sum in
            sum += bytes
            return sum
        }
    }
}

/// What went wrong for one client or store, as it stands in an answer.
struct BackupProblem: Encodable {
    var client: ClientID
    var store: StoreName?
    var code: ErrorCode
    var message: String
    var advice: String

    init(client: ClientID, store: StoreName?, _ error: any Error) {
        self.client = client
        self.store = store
        code = (error as? any DRPError)?.code ?? .failed
        message = (error as? any DRPError)?.message ?? "\(error)"
        advice = (error as? any DRPError)?.advice ?? code.advice
    }

    var text: String {
        let place = store.map { "\(client) in \($0)" } ?? "\(client)"
        return "FAILED  \(place): \(Text.safe(message)) [\(code.rawValue)]\n        next: \(advice)"
    }
}

struct BackupRunAnswer: Answer {
    struct Backup: Encodable {
        var client: ClientID
        var store: StoreName
        var number: Int
        var instant: Date
        var counters: BackupCounters
        var seconds: Double
    }

    var backups: [Backup] = []
    var problems: [BackupProblem] = []

    mutating func add(_ client: ClientID, _ results: [StoredBackup], seconds: Double) {
        for result in results {
            switch result.outcome {
            case .success(let manifest):
                backups.append(
                    Backup(
                        client: client, store: result.store, number: manifest.number, instant: manifest.instant,
                        counters: manifest.counters, seconds: seconds))
            case .failure(let error): problems.append(BackupProblem(client: client, store: result.store, error))
            }
        }
    }

    mutating func fail(_ client: ClientID, _ error: any Error) {
        problems.append(BackupProblem(client: client, store: nil, error))
    }

    /// nil if everything went well.
    var code: ErrorCode? {
        guard let first = problems.first else { return nil }
        return backups.isEmpty && problems.count == 1 ? first.code : .partial
    }

    /// A line for each backup that not all stores of its policy have.
    private var partial: [String] {
        problems.compactMap { problem in
            guard let store = problem.store, let backup = backups.first(where: { $0.client == problem.client }) else {
                return nil
            }
            return "PARTIAL \(backup.client)/\(backup.number): store \(store) does not have it; "
                + "`drp store sync \(backup.client)` or the next backup brings it there"
        }
    }

    var text: String {
        var rows = [["BACKUP", "STORE", "OF", "READ", "NEW", "STORED", "TIME"]]
        for backup in backups {
            let counters = backup.counters
            let share = counters.source > 0 ? Double(counters.new) / Double(counters.source) * 100 : 0
            rows.append([
                "\(backup.client)/\(backup.number)", "\(backup.store)", Text.shortTime(backup.instant),
                Text.bytes(counters.source), "\(Text.bytes(counters.new)) (\(Text.percent(share)))",
                Text.bytes(counters.stored), Text.seconds(backup.seconds),
            ])
        }
        let table = backups.isEmpty ? [] : [Text.table(rows)]
        return (table + partial + problems.map(\.text)).joined(separator: "\n")
    }
}

struct BackupListAnswer: Answer {
    struct Row: Encodable {
        var client: ClientID
        var store: StoreName
        var backup: BackupSummary
    }

    var backups: [Row] = []
    var lacking: [LackingBackups] = []
    var problems: [BackupProblem] = []
    var alarms: [AlarmAnswer.Row] = []

    mutating func add(_ client: ClientID, _ store: StoreName, _ list: BackupList) {
        backups += list.backups.map { Row(client: client, store: store, backup: $0) }
        problems += list.unreadable.sorted { $0.key < $1.key }.map {
            BackupProblem(client: client, store: store, $0.value)
        }
    }

    var text: String {
        var rows = [["BACKUP", "STORE", "OF", "HOLDS", "READ", "NEW", "STORED"]]
        for row in backups {
            let counters = row.backup.counters
            let holds = [row.backup.hasMongo ? "mongo" : nil, row.backup.hasRedis ? "redis" : nil].compactMap { $0 }
            rows.append([
                "\(row.client)/\(row.backup.number)", "\(row.store)", Text.shortTime(row.backup.instant),
                holds.joined(separator: ", "), Text.bytes(counters.source), Text.bytes(counters.new),
                Text.bytes(counters.stored),
            ])
        }
        let table =
            backups.isEmpty
            ? (problems.isEmpty ? ["No backups yet: run `drp backup run CLIENT`."] : []) : [Text.table(rows)]
        return (table + lacking.map(\.text) + problems.map(\.text) + alarms.map(\.line)).joined(separator: "\n")
    }
}

struct BackupShowAnswer: Answer {
    struct Collection: Encodable {
        var name: String
        var documents: Int64
        var bytes: Int64
        var chunks: Int
        var digest: String
    }

    struct Database: Encodable {
        var database: Int
        var keys: Int64
        var volatileKeys: Int64
        var bytes: Int64
        var chunks: Int
        var digest: String
    }

    var client: ClientID
    var uuid: UUID
    var number: Int
    var store: StoreName
    var epoch: Int
    var format: Int
    var started: Date
    var finished: Date
    var instant: Date
    var mode: String?
    /// As the capture counted them.
    var counters: BackupCounters
    /// As the repository is now.
    var sizes: BackupSizes
    var ratio: Double
    var mongoVersion: String?
    var collections: [Collection] = []
    var redisVersion: String?
    var databases: [Database] = []

    init(_ manifest: Manifest, sizes: BackupSizes, store: StoreName) {
        self.sizes = sizes
        ratio = sizes.ratio
        client = manifest.name
        uuid = manifest.client
        number = manifest.number
        self.store = store
        epoch = manifest.epoch
        format = manifest.format
        started = manifest.started
        finished = manifest.finished
        instant = manifest.instant
        counters = manifest.counters
        if let mongo = manifest.mongo {
            mode = "\(mongo.consistency.rawValue) at cluster time \(mongo.clusterSeconds):\(mongo.clusterOrdinal)"
            mongoVersion = mongo.serverVersion
            collections = mongo.collections.map {
                Collection(
                    name: "\($0.database).\($0.collection)", documents: $0.digest.count, bytes: $0.digest.bytes,
                    chunks: $0.segments.count, digest: "\($0.digest)")
            }
        }
        if let redis = manifest.redis {
            redisVersion = redis.serverVersion
            databases = redis.databases.map {
                Database(
                    database: $0.database, keys: $0.digest.count, volatileKeys: $0.volatileKeys, bytes: $0.digest.bytes,
                    chunks: $0.segments.count, digest: "\($0.digest)")
            }
        }
    }

    var text: String {
        var lines = [
            "backup \(client)/\(number) in store \(store)",
            "  of        \(Text.shortTime(instant))\(mode.map { ", \($0)" } ?? "")",
            "  taken     \(Text.shortTime(started)), \(Text.seconds(finished.timeIntervalSince(started)))",
            "  read      \(Text.bytes(counters.source)) in \(counters.chunks) chunks",
            "  unique    \(Self.text(sizes.unique)), ratio \(Text.ratio(ratio))",
            "  new       \(Self.text(sizes.new))",
            "  shared    \(Self.text(sizes.shared)), with earlier backups",
            "  alone     \(Self.text(sizes.alone)), in no other backup",
            "  client    \(uuid.uuidString.lowercased()), epoch \(epoch), format \(format)",
        ]
        if sizes.missing > 0 { lines.append("  LOST      \(sizes.missing) chunks: see `drp backup verify \(client)`") }
        if !sizes.unread.isEmpty {
            let numbers = sizes.unread.map(String.init).joined(separator: ", ")
            lines.append("  unread    backups \(numbers) cannot be read: what they share is not known")
        }
        if let mongoVersion {
            let rows = collections.map {
                [Text.safe($0.name), Text.count($0.documents), Text.bytes($0.bytes), String($0.digest.prefix(16))]
            }
            lines += ["", "MongoDB \(mongoVersion): \(collections.count) collections"]
            lines.append(Text.table([["COLLECTION", "DOCUMENTS", "BYTES", "DIGEST"]] + rows, indent: "  "))
        }
        if let redisVersion {
            let rows = databases.map {
                [
                    "\($0.database)", Text.count($0.keys), Text.count($0.volatileKeys), Text.bytes($0.bytes),
                    String($0.digest.prefix(16)),
                ]
            }
            lines += ["", "Redis \(redisVersion): \(databases.count) databases"]
            lines.append(Text.table([["DATABASE", "KEYS", "WITH TTL", "BYTES", "DIGEST"]] + rows, indent: "  "))
        }
        return lines.joined(separator: "\n")
    }
}

extension BackupShowAnswer {
    fileprivate static func text(_ part: BackupSizes.Part) -> String {
        "\(Text.bytes(part.plain)) in \(part.chunks) chunks, compressed \(Text.bytes(part.compressed)), "
            + "stored \(Text.bytes(part.stored))"
    }
}

struct VerifyAnswer: Answer {
    struct Result: Encodable {
        var client: ClientID
        var store: StoreName
        var report: VerifyReport
        /// Backups that cannot be restored whole, or not with every identity.
        var suffering: [Int]

        init(client: ClientID, store: StoreName, report: VerifyReport) {
            self.client = client
            self.store = store
            self.report = report
            suffering = report.suffering
        }
    }

    var results: [Result] = []
    /// Stores that could not be asked.
    var problems: [BackupProblem] = []
    var isWhole: Bool { results.allSatisfy(\.report.isWhole) }

    var text: String {
        results.flatMap { result -> [String] in
            let report = result.report
            let read =
                report.chunksRead > 0 ? ", \(report.chunksRead) opened (\(Text.bytes(report.chunkBytesRead)))" : ""
            let head =
                "\(report.isWhole ? "whole   " : "DAMAGED ") \(result.client) in \(result.store): "
                + "\(report.backups.count) backups, \(report.packs) packs (\(Text.bytes(report.packBytes))), "
                + "\(report.chunks) chunks\(read)"
            var lines = [head]
            if let sample = report.sample { lines.append(Self.tell(sample, of: report)) }
            for problem in report.problems {
                let suffer =
                    problem.backups.isEmpty
                    ? "no backup suffers" : "backups that suffer: \(Text.numbers(problem.backups))"
                lines.append("          \(Text.safe(problem.subject)): \(Text.safe(problem.text)) (\(suffer))")
            }
            lines += report.unusedEpochs.map {
                "          epoch \($0) is in the store and not among our keys; nothing of ours uses it"
            }
            if !report.isWhole { lines.append(Self.tellSuffering(result)) }
            return lines
        }.joined(separator: "\n") + problems.map { "\n" + $0.text }.joined()
    }

    /// Damage is told before a store that does not answer; nil if neither is.
    var code: ErrorCode? {
        if !isWhole { return .repositoryDamaged }
        guard let first = problems.first else { return nil }
        return results.isEmpty && problems.count == 1 ? first.code : .partial
    }

    private static func tell(_ sample: VerifyReport.Sample, of report: VerifyReport) -> String {
        let left =
            sample.roundsLeft == 0
            ? "with this round, everything that stayed has been read"
            : "\(sample.roundsLeft) more of \(sample.rounds) until everything has been read"
        return "          round \(sample.round): \(sample.packs) of \(report.packs) packs read whole "
            + "(\(Text.bytes(sample.packBytes))); \(left)"
    }

    private static func tellSuffering(_ result: Result) -> String {
        let (bad, all) = (result.suffering, result.report.backups)
        let whole = Set(all).subtracting(bad).sorted()
        guard !bad.isEmpty else { return "          no backup suffers: all \(all.count) can be restored" }
        return "          backups that suffer: \(Text.numbers(bad)); whole: \(Text.numbers(whole))"
    }
}
