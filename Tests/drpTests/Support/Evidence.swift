import DRPKit
import Foundation
import Testing

/// What a command says about an error, as `--json` writes it to stderr or into its answer.
struct Saying: Decodable {
    var error: String
    var message: String
    var advice: String
}

/// What the world knows of its backups, from three places that do not ask each other.
struct BackupState: Equatable {
    /// Of `backup list --json`.
    var listed: [Int]
    /// Rows of the journal with the outcome ok, as numbers.
    var succeeded: [Int]
    /// Rows of the journal that say why they failed.
    var failures: [String]
    /// Rows that are still open.
    var open: Int
    /// Files of manifests in the store.
    var files: [Int]
}

extension DemoWorld {
    private struct List: Decodable {
        struct Row: Decodable {
            struct Summary: Decodable { var number: Int }
            var backup: Summary
        }

        var backups: [Row]
    }

    func backups(of client: String = "acme") async throws -> BackupState {
        let list = try JSONDecoder().decode(
            List.self, from: Data(try await drp("backup", "list", client, "--json").stdout.utf8))
        let rows = try await sqlite(
            "SELECT number, outcome, error_code FROM backups WHERE client = '\(client)' ORDER BY id")
        let folder = "\(try repository(of: client))/backups"
        // No folder before the first backup.
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return BackupState(
            listed: list.backups.map(\.backup.number),
            succeeded: rows.filter { $0[1] == "ok" }.compactMap { Int($0[0]) },
            failures: rows.filter { $0[1] == "failed" }.map { $0[2] }, open: rows.count { $0[1] == "" },
            files: files.compactMap { Int($0) }.sorted())
    }

    /// The folder of a client's repository in the store, by the uuid of its keys.
    func repository(of client: String) throws -> String {
        struct Keys: Decodable { var client: UUID }
        let data = try Data(contentsOf: URL(fileURLWithPath: "\(state)/keys/\(client)"))
        return "\(store)/\(try JSONDecoder().decode(Keys.self, from: data).client.uuidString.lowercased())"
    }

    /// Every file below a folder, as paths relative to it, sorted.
    static func files(below folder: String) -> [String] {
        let all = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
        var isFolder: ObjCBool = false
        return all.filter {
            FileManager.default.fileExists(atPath: "\(folder)/\($0)", isDirectory: &isFolder) && !isFolder.boolValue
        }.sorted()
    }

    /// Backs up, and expects that to work.
    func backUp(_ client: String = "acme", sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let ended = try await drp("backup", "run", client)
        try #require(ended.status == 0, "\(ended.stdout)\(ended.stderr)", sourceLocation: sourceLocation)
    }

    /// Every stored byte of a client opens and fits its digests.
    func expectWhole(_ client: String = "acme", sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let ended = try await drp("backup", "verify", client, "--read-data", "--identity", identity)
        #expect(ended.status == 0, "\(ended.stdout)\(ended.stderr)", sourceLocation: sourceLocation)
    }

    /// Nobody holds a lease, and the chain of events is whole.
    func expectJournalAtRest(sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let held = try await sqlite("SELECT name FROM leases WHERE held = 1")
        #expect(held.isEmpty, "leases are held: \(held)", sourceLocation: sourceLocation)
        #expect(try await sqlite("PRAGMA integrity_check") == [["ok"]], sourceLocation: sourceLocation)
    }
}

/// An error for a person: status, code, what it happened to, and the next thing to do.
func expectError(
    _ ended: Ended, status: Int32, code: ErrorCode, naming words: [String],
    sourceLocation: SourceLocation = #_sourceLocation
) {
    let said = ended.stdout + ended.stderr
    #expect(ended.status == status, "\(said)", sourceLocation: sourceLocation)
    #expect(said.contains(code.rawValue), "\(said)", sourceLocation: sourceLocation)
    #expect(said.contains("next: "), "\(said)", sourceLocation: sourceLocation)
    for word in words {
        #expect(said.contains(word), "\(word) is not named in: \(said)", sourceLocation: sourceLocation)
    }
}
