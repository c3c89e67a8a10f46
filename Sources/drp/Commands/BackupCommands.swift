internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation

struct BackupCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Take, list, show and verify backups.",
        discussion: """
            Examples:
              drp backup run acme
              drp backup verify acme --read-data --identity recovery.key
            """,
        subcommands: [Run.self, List.self, Show.self, Verify.self])

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Back up clients now.",
            discussion: """
                Examples:
                  drp backup run acme
                  drp backup run --all --json

                A backup goes to every store of the client's policy. What the repository has already is not stored again.
                """)

        @Argument(help: ArgumentHelp("Clients, in order of their priority.", valueName: "client"))
        var clients: [ClientID] = []

        @Flag(name: .long, help: "All clients of the fleet.")
        var all = false

        @OptionGroup var common: CommonOptions

        func validate() throws {
            if clients.isEmpty != all { throw ValidationError("Name the clients, or give --all.") }
        }

        func run() async throws {
            let display = ProgressDisplay(json: common.json)
            let composition = try await common.composition(progress: display)
            let wanted = try composition.clients(clients)
            try await composition.shipping {
                var answer = BackupRunAnswer()
                for client in wanted {
                    let began = composition.clock.now
                    do {
                        let results = try await composition.backupJob.run(client, progress: composition.progress)
                        display.end()
                        let seconds = composition.clock.now.timeIntervalSince(began)
                        answer.add(client.id, results, seconds: seconds)
                    } catch {
                        display.end()
                        if clients.count == 1 { throw error }
                        answer.fail(client.id, error)
                    }
                }
                try Output.answer(answer, json: common.json)
                for alarm in try await composition.alarms(of: wanted) { Output.note(AlarmAnswer.Row(alarm).line) }
                if let code = answer.code { throw ExitStatus(code) }
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the backups that the stores hold.",
            discussion: """
                Examples:
                  drp backup list
                  drp backup list acme --json
                  drp backup list acme --repository-at 2026-11-25T02:00:00Z
                """)

        @Argument(help: ArgumentHelp("Clients; all without any.", valueName: "client"))
        var clients: [ClientID] = []

        @OptionGroup var past: PastOption
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition(past: past)
            var answer = BackupListAnswer()
            for client in try composition.clients(clients) {
                for settings in composition.fleet.stores(of: client) {
                    do {
                        let repository = try await composition.repository(of: client, in: settings)
                        let list = try await repository.backups()
                        answer.add(client.id, settings.name, list)
                        // The past is as it was: an alarm is of today.
                        if composition.repositoryAt == nil {
                            try await composition.watch.look(
                                at: settings.name, try await repository.holdings(), of: client.id,
                                repository.keys.client, list)
                        }
                    } catch {
                        answer.problems.append(BackupProblem(client: client.id, store: settings.name, error))
                    }
                }
                for (store, numbers) in await composition.lacking(client).sorted(by: { $0.key < $1.key }) {
                    answer.lacking.append(LackingBackups(client: client.id, store: store, numbers: numbers))
                }
            }
            answer.alarms = try await composition.alarms(of: try composition.clients(clients)).map {
                AlarmAnswer.Row($0)
            }
            try Output.answer(answer, json: common.json)
            if let code = answer.problems.first?.code {
                throw ExitStatus(answer.backups.isEmpty ? code : .partial)
            }
            if !answer.alarms.isEmpty { throw ExitStatus(.alarmed) }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what one backup holds.",
            discussion: """
                Examples:
                  drp backup show acme/12
                  drp backup show acme/latest --json
                """)

        @Argument(help: ArgumentHelp("CLIENT/NUMBER or CLIENT/latest.", valueName: "backup"))
        var backup: BackupReference

        @OptionGroup var past: PastOption
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition(past: past)
            let found = try await composition.find(backup)
            let sizes = try await found.repository.sizes(of: found.manifest)
            try Output.answer(BackupShowAnswer(found.manifest, sizes: sizes, store: found.store), json: common.json)
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check that backups are whole.",
            discussion: """
                Examples:
                  drp backup verify acme
                  drp backup verify --read-data --identity recovery.key
                  drp backup verify --sample 5%

                Without --read-data, every object is checked against its name and opened as far as the writer's keys go. With
                it, every chunk is decrypted too, and ids and digests are computed again. With --sample, a share of the packs
                is read at a time, another one each time, so that 5% a night has read everything within 20 nights; names,
                sizes, trailers, indexes and manifests are checked each time.
                """)

        @Argument(help: ArgumentHelp("Clients; all without any.", valueName: "client"))
        var clients: [ClientID] = []

        @Flag(name: .long, help: "Decrypt and check all content; needs --identity.")
        var readData = false

        @Option(name: .long, help: ArgumentHelp("The recovery identity that opens backups.", valueName: "file"))
        var identity: String?

        @Option(
            name: .long,
            help: ArgumentHelp(
                "Read this share of the packs, as 5% or 0.5%, another one each time.", valueName: "share"))
        var sample: SampleShare?

        @OptionGroup var past: PastOption
        @OptionGroup var common: CommonOptions

        func validate() throws {
            if readData && identity == nil { throw ValidationError("--read-data needs --identity FILE.") }
        }

        func run() async throws {
            let display = ProgressDisplay(json: common.json)
            let composition = try await common.composition(identity: identity, past: past, progress: display)
            var answer = VerifyAnswer()
            for client in try composition.clients(clients) {
                for settings in composition.fleet.stores(of: client) {
                    let done = ByteMeter()
                    do {
                        let report = try await composition.verify(
                            client, in: settings, readData: readData, share: sample
                        ) {
                            display.show("\(client.id): \(settings.name)", done: done.add($0), total: 0)
                        }
                        display.end()
                        answer.results.append(
                            VerifyAnswer.Result(client: client.id, store: settings.name, report: report))
                    } catch {
                        display.end()
                        if clients.count == 1 && composition.fleet.stores(of: client).count == 1 { throw error }
                        answer.problems.append(BackupProblem(client: client.id, store: settings.name, error))
                    }
                }
            }
            try Output.answer(answer, json: common.json)
            if let code = answer.code { throw ExitStatus(code) }
        }
    }
}

extension Composition {
    func keys(of client: Client) throws -> WriterKeys {
        try WriterKeys.read(of: client.id, state: fleet.state)
    }

    func repository(of client: Client, in settings: StoreSettings) async throws -> Repository {
        try await Repository(store: try await openToRead(settings), keys: try keys(of: client))
    }

    /// Finds a backup in the stores of the client's policy, the nearest first.
    func find(_ reference: BackupReference, near site: SiteName? = nil, only: StoreName? = nil) async throws
        -> FoundBackup
    {
        let client = try client(reference.client)
        return try await BackupFinder(fleet: fleet, open: openToRead).find(
            client, reference.number, keys: try keys(of: client), near: site, only: only)
    }

    /// With a share, the journal remembers where the next round goes on.
    fileprivate func verify(
        _ client: Client, in settings: StoreSettings, readData: Bool, share: SampleShare?,
        progress: @escaping @Sendable (Int64) -> Void
    ) async throws -> VerifyReport {
        guard let share else {
            return try await verify(client, in: settings, readData: readData, sample: nil, progress: progress)
        }
        let last = try await journal.verifyRound(client: client.id, store: settings.name)
        let sample = VerifySample(
            share: share.millionths, round: (last?.round ?? 0) + 1, position: last?.position ?? 0)
        let report = try await verify(client, in: settings, readData: readData, sample: sample, progress: progress)
        try await journal.recordVerifyRound(
            VerifyRound(round: sample.round, position: sample.next.position), client: client.id, store: settings.name,
            facts: [
                "share": .text("\(share)"), "packs": .integer(Int64(report.sample?.packs ?? 0)),
                "ofPacks": .integer(Int64(report.packs)), "bytes": .integer(report.sample?.packBytes ?? 0),
                "chunksOpened": .integer(Int64(report.chunksRead)), "problems": .integer(Int64(report.problems.count)),
            ])
        return report
    }

    private func verify(
        _ client: Client, in settings: StoreSettings, readData: Bool, sample: VerifySample?,
        progress: @escaping @Sendable (Int64) -> Void
    ) async throws -> VerifyReport {
        let store = try await openToRead(settings)
        let keys = try keys(of: client)
        guard readData, let identity else {
            return try await Repository.verify(store: store, keys: keys, sample: sample, progress: progress)
        }
        return try await Repository.verify(
            store: store, keys: keys,
            reader: {
                let repository = try await Repository(store: store, keys: keys)
                return try await repository.reader(try await repository.rootKeys(identity))
            }, sample: sample, progress: progress)
    }
}
