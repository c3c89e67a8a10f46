import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

@Suite struct FolderStoreTests {
    private let folder: TemporaryFolder
    private let store: FolderStore

    init() throws {
        folder = try TemporaryFolder()
        store = FolderStore(root: folder.path("store"))
    }

    private func key(_ text: String) throws -> ObjectKey { try #require(ObjectKey(text)) }

    @Test("the folder store does what every store does")
    func conformance() async throws { try await StoreConformance(store: FolderStore(root: folder.path)).run() }

    @Test("a folder that is missing is named as unreachable, not as an empty store")
    func missingRoot() async throws {
        let error = await #expect(throws: StoreError.self) { try await store.read(key("a/b")) }
        #expect(error?.reason == .unreachable && error?.message.contains(store.root) == true)
        let deep = FolderStore(root: folder.path("not/mounted"))
        let refused = await #expect(throws: StoreError.self) { try await deep.put(key("a"), [1], .createOnly) }
        #expect(refused?.code == .storeUnreachable)
    }

    @Test("files are 0600 and folders 0700, and no temporary file stays")
    func permissions() async throws {
        try await store.put(key("a/b"), [1], .createOnly)
        await #expect(throws: StoreError.self) { try await store.put(key("a/b"), [2], .createOnly) }
        func mode(_ path: String) throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        }
        #expect(try mode(store.root + "/a/b") == 0o600)
        #expect(try mode(store.root + "/a") == 0o700)
        #expect(try FileManager.default.contentsOfDirectory(atPath: store.root + "/.drp-tmp") == [])
    }

    @Test("links and pipes inside the store are not followed")
    func links() async throws {
        try await store.put(key("a/b"), [1], .createOnly)
        let files = FileManager.default
        try Data([9]).write(to: folder.url.appending(path: "outside"))
        try files.createSymbolicLink(atPath: store.root + "/a/link", withDestinationPath: folder.path("outside"))
        try files.createSymbolicLink(atPath: store.root + "/up", withDestinationPath: folder.path)
        mkfifo(store.root + "/a/pipe", 0o600)
        for name in ["a/link", "up/outside", "a/pipe"] {
            let error = await #expect(throws: StoreError.self) { try await store.read(key(name)) }
            #expect(error?.reason == .damaged)
        }
        await #expect(throws: StoreError.self) { try await store.put(key("up/new"), [1], .createOnly) }
        #expect(!files.fileExists(atPath: folder.path("new")))
        #expect(try await store.list(key("a")).map(\.key.text) == ["a/b"])
    }

    @Test("temporary files of dead writers are swept; those of live ones, and younger ones, stay")
    func sweep() async throws {
        try await store.put(key("a"), [1], .createOnly)
        let temporary = store.root + "/.drp-tmp"
        try Data([1]).write(to: URL(filePath: temporary + "/put-1-1"))
        try Data([1]).write(to: URL(filePath: temporary + "/foreign"))
        let live = open(temporary + "/put-2-2", O_RDWR | O_CREAT, 0o600)
        #expect(flock(live, LOCK_EX) == 0)
        try await store.sweep()
        #expect(try FileManager.default.contentsOfDirectory(atPath: temporary).count == 3)
        try await store.sweep(olderThan: 0)
        #expect(try FileManager.default.contentsOfDirectory(atPath: temporary).sorted() == ["foreign", "put-2-2"])
        close(live)
        try await store.sweep(olderThan: 0)
        #expect(try FileManager.default.contentsOfDirectory(atPath: temporary) == ["foreign"])
    }

    @Test("a store without write permission is named as denied", .enabled(if: getuid() != 0, "root may write anywhere"))
    func denied() async throws {
        try await store.put(key("a/b"), [1], .createOnly)
        chmod(store.root + "/.drp-tmp", 0o500)
        let error = await #expect(throws: StoreError.self) { try await store.put(key("a/c"), [1], .createOnly) }
        #expect(error?.code == .repositoryDenied)
        chmod(store.root + "/.drp-tmp", 0o700)
    }

    @Test("a full disk is named, and older backups stay whole", .enabled(if: getuid() == 0, "mounts a small tmpfs"))
    func fullDisk() async throws {
        let disk = folder.path("disk")
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        // A container may forbid mounting even to root: then there is nothing to test here.
        guard mount("tmpfs", disk, "tmpfs", 0, "size=2m,mode=0700") == 0 else { return }
        defer { umount2(disk, Int32(MNT_DETACH)) }
        let fixture = try await RepositoryFixture(FolderStore(root: disk))
        let small = [RepositoryFixture.chunk(records: 10, of: 1000, seed: 1)]
        try await fixture.backUp(small)
        let large = (0..<4).map { RepositoryFixture.chunk(records: 10, of: 200_000, seed: 100 + $0) }
        let error = await #expect(throws: StoreError.self) { try await fixture.backUp(large) }
        #expect(error?.code == .storeFull)
        #expect(try await fixture.repository.backups().backups.map(\.number) == [1])
        #expect(try FileManager.default.contentsOfDirectory(atPath: disk + "/.drp-tmp") == [])
        #expect(try await fixture.verify().isWhole)
        #expect(try await fixture.backUp(small).number == 2)
    }

    @Test(
        "a disk that is full to its last byte still takes what makes room, and keeps room for it again afterwards",
        .enabled(if: getuid() == 0, "mounts a small tmpfs"))
    func reserve() async throws {
        let disk = folder.path("disk")
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        // A container may forbid mounting even to root: then there is nothing to test here.
        guard mount("tmpfs", disk, "tmpfs", 0, "size=1m,mode=0700") == 0 else { return }
        defer { umount2(disk, Int32(MNT_DETACH)) }
        let store = FolderStore(root: disk)
        try await store.sweep()
        var fillings = 0
        while (try? await store.put(key("a/filling-\(fillings)"), Array(repeating: 1, count: 4096), .createOnly)) != nil
        {
            fillings += 1
        }
        #expect((100..<256).contains(fillings), "\(fillings)")
        var marks = 0
        while (try? await store.makingRoom().put(key("a/mark-\(marks)"), [UInt8](repeating: 2, count: 300), .createOnly))
            != nil
        { marks += 1 }
        #expect(marks >= 50, "\(marks)")
        #expect(try await store.read(key("a/mark-\(marks - 1)")) == [UInt8](repeating: 2, count: 300))
        #expect(!FileManager.default.fileExists(atPath: disk + "/.drp-reserve"))
        // With no room for it, that is no failure; with room, it is there again.
        try await store.sweep()
        for number in 0..<70 { try await store.delete(key("a/filling-\(number)")) }
        try await store.sweep()
        #expect(FileManager.default.contents(atPath: disk + "/.drp-reserve")?.count == 256 << 10)
        #expect(try await store.folders() == ["a"])
    }

    @Test("a repository in a folder goes round: backup, restore with the identity alone, verification")
    func repository() async throws {
        let fixture = try await RepositoryFixture(store)
        let chunks = (0..<3).map { RepositoryFixture.chunk(records: 50, of: 5000, seed: $0) }
        let manifest = try await fixture.backUp(chunks)
        let again = FolderStore(root: store.root)
        let card = try #require(try await Repository.clients(in: again).first)
        let opened = try await Repository.open(store: again, client: card.client, identity: fixture.identity)
        let reader = try await opened.repository.reader(opened.roots)
        let segment = try #require(manifest.mongo).collections[0].segments[2]
        let records = try await OwnThread.run("test") { try reader.records(segment, kind: .documents) }
        #expect(records.bytes == chunks[2].bytes)
        let report = try await fixture.verify()
        #expect(report.isWhole && report.chunksRead == 3 && report.packs == 1)
    }
}
