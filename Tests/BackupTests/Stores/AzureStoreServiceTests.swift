import DRPKit
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Backup

/// Against the stand-in of `script/services/azure`, which lets in whom the Azure SDK's own code would let in. It is not
/// Azure: how that behaves beyond its written reference, these tests cannot tell.
@Suite(
    "Azure store at a stand-in for the Blob service", .serialized,
    .enabled(if: AzureContainer.endpoint != nil, "start with script/test"))
struct AzureStoreServiceTests {
    @Test("a container does what every store does", arguments: AzureContainer.Account.allCases)
    func conformance(account: AzureContainer.Account) async throws {
        try await StoreConformance(store: try await AzureContainer(account).store()).run()
    }

    @Test("the account may stand in the host or in the path, and TLS by a custom authority is taken")
    func addresses() async throws {
        for address in AzureContainer.Address.allCases {
            try await StoreConformance(store: try await AzureContainer(.plain, address).store()).run()
        }
        var settings = try await AzureContainer(.plain, .tls).settings
        settings.ca = nil
        let store = AzureStore(
            settings, http: CurlClient(), clock: SystemClock(), rule: S3Bucket.impatient,
            credentials: AzureContainer.Account.plain.credentials)
        let error = await #expect(throws: StoreError.self) { try await store.folders() }
        #expect(error?.reason == .unreachable && error?.cause?.contains("certificate") == true)
    }

    @Test("a list of many pages is whole, and what is no key of ours is left out and alone")
    func pages() async throws {
        let container = try await AzureContainer()
        let store = container.store()
        let folder = try #require(ObjectKey("many"))
        try await withThrowingTaskGroup { group in
            for number in 0..<1100 {
                group.addTask { try await store.put(folder.appending("\(number)"), [], .replace) }
            }
            try await group.waitForAll()
        }
        try await store.put(try #require(ObjectKey("other/one")), [1], .createOnly)
        let python = try #require(AzureContainer.environment["DRP_TEST_PYTHON"])
        let strange = try await CommandRunner().run(
            [
                python, "-c",
                """
                import sys
                from azure.storage.blob import ContainerClient
                url, account, file, name = sys.argv[1:]
                key = {"account_name": account, "account_key": open(file).read()}
                for blob in ["many/a b", "many/<&>", "many/é", ".hidden/x", "many/.hidden", "many/%2e%2e"]:
                    ContainerClient(url, name, credential=key).upload_blob(blob, b"x")
                """, container.settings.endpoint, container.account.rawValue, container.account.keyFile,
                container.settings.container,
            ], deadline: .seconds(30))
        #expect(strange.status == .exited(0), "\(strange.errorText)")
        let found = try await store.list(folder)
        #expect(found.count == 1100 && found == found.sorted { $0.key < $1.key })
        #expect(Set(found.map(\.key)).count == 1100)
        #expect(try await store.folders() == ["many", "other"])
    }

    @Test("of 16 writers of one name one wins", arguments: [AzureContainer.Account.plain, .versions])
    func race(account: AzureContainer.Account) async throws {
        let container = try await AzureContainer(account)
        let key = try #require(ObjectKey("race/one"))
        for round in 0..<4 {
            let wins = try await withThrowingTaskGroup(of: Bool.self) { group in
                for writer in 0..<16 {
                    let store = container.store()
                    group.addTask {
                        do throws(StoreError) {
                            try await store.put(key, [UInt8(writer)], .createOnly)
                            return true
                        } catch {
                            guard error.reason == .alreadyThere else { throw error }
                            return false
                        }
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(wins == 1, "round \(round)")
            try await container.store().delete(key)
        }
    }

    @Test(
        "what a container can do is tried, not assumed, and nothing of that is left",
        arguments: AzureContainer.Account.allCases)
    func capabilities(account: AzureContainer.Account) async throws {
        let container = try await AzureContainer(account)
        let expected = StoreCapabilities(
            createsOnly: true, keepsVersions: account != .plain, locks: account == .locks, expires: nil,
            replacesConditionally: true)
        #expect(try await container.store().capabilities() == expected)
        #expect(try await container.hand.versions(prefix: "").filter { !$0.isMarker }.isEmpty)
    }

    @Test("a service that lets a second writer replace is found out, and gets nothing that must stay")
    func forgetful() async throws {
        let (container, sas) = try await AzureContainer.signature(.plain, permissions: "rcwdl")
        let store = container.store(http: ForgetfulAzure(base: container.http), credentials: { .sas(sas) })
        #expect(try await store.capabilities().createsOnly == false)
        let key = try #require(ObjectKey("a/b"))
        let error = await #expect(throws: StoreError.self) { try await store.put(key, [1], .createOnly) }
        #expect(error?.reason == .unsupported)
        #expect(try await container.store().size(key) == nil)
    }

    @Test("a wrong key, a missing container and a clock that is an hour off are said by name")
    func refusals() async throws {
        let container = try await AzureContainer()
        let key = try #require(ObjectKey("a/b"))
        for (secret, cause) in [("d3Jvbmc=", "AuthenticationFailed"), ("no base64", "no Base64")] {
            let refused = await #expect(throws: StoreError.self) {
                try await container.store(credentials: { .key(Secret(secret)) }).put(key, [1], .replace)
            }
            #expect(refused?.reason == .denied && refused?.cause?.contains(cause) == true, "\(refused?.message ?? "")")
        }
        for hours in [-1.0, 1] {
            let late = container.store(clock: StandingClock(now: SystemClock().now + hours * 3600))
            let skewed = await #expect(throws: StoreError.self) { try await late.folders() }
            #expect(skewed?.code == .clocksDiffer)
        }
        let nowhere = AzureContainer(.plain, name: "drp-there-is-none").store()
        for error in [
            await #expect(throws: StoreError.self) { try await nowhere.read(key) },
            await #expect(throws: StoreError.self) { try await nowhere.size(key) },
            await #expect(throws: StoreError.self) { try await nowhere.list(key) },
            await #expect(throws: StoreError.self) { try await nowhere.put(key, [], .replace) },
        ] {
            #expect(error?.reason == .unreachable && error?.cause?.contains("no container") == true)
        }
    }

    @Test("a key that was rotated in mid-work is fetched anew, once, and a refused one is not tried for ever")
    func renewal() async throws {
        let container = try await AzureContainer()
        let calls = Mutex(0)
        let store = container.store(credentials: {
            let call = calls.withLock { calls in
                calls += 1
                return calls
            }
            return call > 1 ? try await container.account.credentials() : .key(Secret("b2xk"))
        })
        let key = try #require(ObjectKey("a/b"))
        try await store.put(key, [1, 2], .createOnly)
        #expect(try await store.read(key) == [1, 2] && calls.withLock { $0 } == 2)
        let counter = FaultyHTTP(container.http, .reset, at: 0)
        let refused = container.store(http: counter, credentials: { .key(Secret("b2xk")) })
        let error = await #expect(throws: StoreError.self) { try await refused.read(key) }
        #expect(error?.reason == .denied && counter.requests == 1)
    }

    // MARK: - Shared access signatures

    @Test("a SAS that the SDK made lets in, for what it allows")
    func signature() async throws {
        let (container, sas) = try await AzureContainer.signature(.plain, permissions: "rcwdl")
        try await StoreConformance(store: container.store(credentials: { .sas(sas) })).run()
        let (other, reading) = try await AzureContainer.signature(.plain, permissions: "rl")
        let key = try #require(ObjectKey("a/b"))
        try await other.store().put(key, [1], .createOnly)
        let reader = other.store(credentials: { .sas(reading) })
        #expect(try await reader.read(key) == [1])
        for error in [
            await #expect(throws: StoreError.self) { try await reader.put(key, [2], .replace) },
            await #expect(throws: StoreError.self) { try await reader.put(key, [2], .createOnly) },
        ] { #expect(error?.reason == .denied && error?.cause?.contains("PermissionMismatch") == true) }
        let elsewhere = container.store(credentials: { .sas(reading) })
        let refused = await #expect(throws: StoreError.self) { try await elsewhere.read(key) }
        #expect(refused?.reason == .denied)
    }

    @Test("a SAS that has ended is said by its time; no error shows a signature")
    func endedSignature() async throws {
        let (container, sas) = try await AzureContainer.signature(.plain, permissions: "rcwdl", seconds: -60)
        let store = container.store(credentials: { .sas(sas) })
        let ended = await #expect(throws: StoreError.self) { try await store.folders() }
        #expect(ended?.reason == .denied && ended?.cause?.contains("SAS ended at 20") == true)
        var settings = container.settings
        settings.endpoint = "http://127.0.0.1:1/drpplain"
        let nobody = AzureStore(
            settings, http: CurlClient(), clock: SystemClock(), rule: S3Bucket.impatient, credentials: { .sas(sas) })
        let unreachable = await #expect(throws: StoreError.self) { try await nobody.folders() }
        #expect(unreachable?.reason == .unreachable)
        for error in [ended, unreachable] {
            #expect(error?.message.contains("sig=") == false, "\(error?.message ?? "")")
        }
    }

    @Test("whether a SAS can lock is tried, since it may not ask the container", arguments: ["rcwdlxi", "rcwdlx"])
    func lockingSignature(permissions: String) async throws {
        let (container, sas) = try await AzureContainer.signature(.locks, permissions: permissions)
        let found = try await container.store(credentials: { .sas(sas) }).capabilities()
        #expect(found.keepsVersions && found.locks == permissions.contains("i"))
        #expect(found.accessEnds.map { abs($0.timeIntervalSince(SystemClock().now) - 3600) < 60 } == true)
        #expect(try await container.hand.versions(prefix: "").isEmpty)
    }

    // MARK: - Locks and versions

    @Test(
        "a locked object cannot go, is out of sight, and its date is told",
        arguments: [LockMode.compliance, .governance])
    func locks(mode: LockMode) async throws {
        let container = try await AzureContainer(.locks)
        let until = Date(timeIntervalSince1970: (SystemClock().now.timeIntervalSince1970 + 600).rounded())
        let store = container.store().locking(ObjectLock(mode: mode, until: until - 0.5))
        let (kept, loose) = (try #require(ObjectKey("c/packs/one")), try #require(ObjectKey("c/lease")))
        try await store.put(kept, [1], .lasting)
        try await store.put(loose, [2], .replace)
        #expect(try await store.lockedUntil(kept) == until)
        #expect(try await container.hand.policy(kept)?.mode == mode)
        #expect(try await store.lockedUntil(loose) == nil)
        let later = until + 600
        try await store.lock(kept, ObjectLock(mode: mode, until: later))
        // Neither shorter nor weaker.
        try await store.lock(kept, ObjectLock(mode: .governance, until: until))
        #expect(try await store.lockedUntil(kept) == later)
        #expect(try await container.hand.policy(kept)?.mode == mode)
        #expect(try await store.delete(loose) == .gone)
        #expect(try await store.delete(kept) == .locked(until: later))
        #expect(try await store.list(try #require(ObjectKey("c"))).isEmpty)
        #expect(try await store.remains(try #require(ObjectKey("c"))) == [kept], "an erasure comes back for it")
        #expect(try await store.delete(kept) == .locked(until: later))
        let left = try await container.hand.versions(prefix: "").filter { !$0.isMarker }
        #expect(left.map(\.key) == [kept] && left.map(\.size) == [1])
    }

    @Test("an object that was there before can be locked; what has no locks says so, and nothing is put without one")
    func lockLater() async throws {
        let key = try #require(ObjectKey("c/packs/one"))
        let lock = ObjectLock(mode: .compliance, until: SystemClock().now + 600)
        let locking = try await AzureContainer(.locks).store()
        try await locking.put(key, [1], .createOnly)
        try await locking.lock(key, lock)
        #expect(try await locking.lockedUntil(key).map { $0 >= lock.until } == true)
        let missing = await #expect(throws: StoreError.self) {
            try await locking.lock(try #require(ObjectKey("c/packs/none")), lock)
        }
        #expect(missing?.reason == .missing)
        let versions = try await AzureContainer(.versions).store()
        let refused = await #expect(throws: StoreError.self) {
            try await versions.locking(lock).put(key, [1], .lasting)
        }
        #expect(refused?.reason == .unsupported && refused?.cause?.contains("version-level immutability") == true)
        #expect(try await versions.size(key) == nil)
    }

    @Test("the past is read by version: what was deleted, replaced or added since is as it was")
    func past() async throws {
        let container = try await AzureContainer(.versions)
        let (store, hand) = (container.store(), container.hand)
        let keys = try (0..<4).map { try #require(ObjectKey("c/packs/\($0)")) }
        let gone = try #require(ObjectKey("c/packs/gone"))
        _ = try await hand.put(gone, [9])
        _ = try await hand.send(.delete, gone)
        for key in keys.prefix(3) { try await store.put(key, Array(key.text.utf8), .createOnly) }
        let before = try #require(try await hand.versions(prefix: "").map(\.written).max())
        _ = try await hand.send(.delete, keys[0])
        _ = try await hand.put(keys[1], [0])
        _ = try await hand.put(keys[3], [0])
        let view = try await store.view(at: before)
        #expect(try await view.list(try #require(ObjectKey("c"))).map(\.key) == Array(keys.prefix(3)))
        for key in keys.prefix(3) { #expect(try await view.read(key) == Array(key.text.utf8)) }
        #expect(try await view.read(keys[1], range: 0..<3) == Array("c/p".utf8))
        #expect(try await view.folders() == ["c"])
        let missing = await #expect(throws: StoreError.self) { try await view.read(keys[3]) }
        #expect(missing?.reason == .missing)
        let plain = try await AzureContainer(.plain).store()
        let none = await #expect(throws: StoreError.self) { try await plain.view(at: before) }
        #expect(none?.reason == .unsupported)
    }

    @Test("deleting takes older versions along; what soft delete keeps is told")
    func deletes() async throws {
        let key = try #require(ObjectKey("c/lease"))
        for (account, expected) in [(AzureContainer.Account.versions, Deletion.gone), (.bin, .locked(until: nil))] {
            let container = try await AzureContainer(account)
            let store = container.store()
            for byte in UInt8(0)..<3 { try await store.put(key, [byte], .replace) }
            #expect(try await container.hand.versions(prefix: "").count == 3)
            #expect(try await store.delete(key) == expected)
            #expect(try await container.hand.versions(prefix: "").filter { !$0.isMarker }.isEmpty)
            #expect(try await store.delete(key) == .gone)
        }
    }

    // MARK: - Faults

    @Test("what no Blob service sends is not believed: a proxy's 404 is no missing object, its page no object")
    func strangers() async throws {
        let container = AzureContainer(.plain, name: "drp-nowhere")
        let key = try #require(ObjectKey("a/b"))
        for (status, body) in [(404, ""), (404, "<html>"), (200, "<html>"), (200, "<Error><Code>X</Code></Error>")] {
            let store = container.store(
                http: FixedHTTP(HTTPResponse(status: status, headers: [], body: Array(body.utf8))))
            let error = await #expect(throws: StoreError.self) { try await store.read(key) }
            #expect(error?.reason == .unreachable)
        }
    }

    @Test("backup and restore outlive any single fault, or fail by name", arguments: HTTPFault.allCases)
    func faults(_ fault: HTTPFault) async throws {
        let container = try await AzureContainer(.versions)
        let fixture = try await RepositoryFixture(container.store())
        let step = AzureContainer.environment["DRP_CAMPAIGN"] == "1" ? 1 : 5
        var (number, harmed) = (1, 0)
        while true {
            let http = FaultyHTTP(container.http, fault, at: number)
            let before = try await fixture.repository.numbers()
            do {
                let chunk = RepositoryFixture.chunk(records: 4, of: 200, seed: UInt64(number))
                let manifest = try await fixture.backUp([chunk], to: container.store(http: http))
                #expect(try await fixture.repository.numbers() == before + [manifest.number])
            } catch let error as any DRPError {
                #expect(error is StoreError || error is RepositoryError)
                // Without TLS a body may be changed on its way, and what is forbidden stays so; all else passes the second time.
                #expect(fault == .corrupted || fault == .forbidden, "\(error.message)")
                #expect(try await fixture.repository.numbers().count <= before.count + 1)
            }
            guard http.wasHarmed else { break }
            harmed += 1
            number += step
        }
        #expect(harmed > 0)
        #expect(try await fixture.verify().isWhole)
    }
}

/// A service that knows nothing of `If-None-Match`. With a SAS, headers are not signed.
private struct ForgetfulAzure: HTTPClient {
    let base: any HTTPClient

    func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        var request = request
        request.headers.removeAll { $0.name == "if-none-match" }
        return try await base.send(request)
    }
}

/// Gives one answer to all.
private struct FixedHTTP: HTTPClient {
    let answer: HTTPResponse
    init(_ answer: HTTPResponse) { self.answer = answer }
    func send(_ request: HTTPRequest) async throws -> HTTPResponse { answer }
}
