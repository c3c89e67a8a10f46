import DRPKit
import Foundation
import Synchronization
import Testing

@testable import Migrate

@Suite("Parts of the deployer of containers")
struct DockerPartsTests {
    @Test("a block of addresses is read exactly, and nothing that is no block")
    func subnets() throws {
        let block = try #require(Subnet("10.213.0.16/28"))
        #expect("\(block)" == "10.213.0.16/28" && block.address(2) == "10.213.0.18")
        for text in ["10.213.0.17/28", "10.213.0.0", "10.213.0/28", "10.213.0.0/0", "10.213.0.256/28", "::/64", "a/8"] {
            #expect(Subnet(text) == nil, "\(text)")
        }
    }

    @Test("free blocks come lowest first, meet no taken one, and end with their pool")
    func blocks() throws {
        let pool = try #require(Subnet("10.0.0.0/26"))
        let taken = try ["10.0.0.0/28", "10.0.0.40/29", "192.168.0.0/16"].map { try #require(Subnet($0)) }
        #expect(pool.blocks(ofLength: 28, besides: taken).map(\.description) == ["10.0.0.16/28", "10.0.0.48/28"])
        let last = try #require(Subnet("255.255.255.240/28"))
        #expect(Array(last.blocks(ofLength: 28, besides: [])) == [last])
        #expect(Array(last.blocks(ofLength: 28, besides: [try #require(Subnet("0.0.0.0/1"))])) == [last])
    }

    @Test("an archive is one that tar itself reads")
    func archive() async throws {
        try await withFolder { folder in
            var archive = TarArchive()
            archive.add(folder: "a", mode: 0o750, owner: .init(user: 10_001, group: 10_002))
            archive.add(file: "a/b", Array("word\n".utf8), mode: 0o400, owner: .init(user: 10_001, group: 10_002))
            archive.add(file: "a/empty", [], mode: 0o400, owner: .init(user: 0, group: 0))
            archive.add(
                file: "a/block", [UInt8](repeating: 1, count: 512), mode: 0o600, owner: .init(user: 0, group: 0))
            try PrivateFiles.write(archive.bytes, to: "\(folder)/x.tar")
            let list = try await DockerWorld.run("tar", ["--numeric-owner", "-tvf", "\(folder)/x.tar"])
            #expect(list.status == 0)
            let lines = list.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            #expect(
                lines.map { [$0[0], $0[1], $0[2], $0[5]] } == [
                    ["drwxr-x---", "10001/10002", "0", "a/"], ["-r--------", "10001/10002", "5", "a/b"],
                    ["-r--------", "0/0", "0", "a/empty"], ["-rw-------", "0/0", "512", "a/block"],
                ])
        }
    }

    @Test("an engine is spoken to in the newest version that both know, and refused outside of them")
    func versions() async throws {
        for (newest, oldest, spoken) in [
            ("1.41", "1.12", "v1.41"), ("1.44", "1.24", "v1.44"), ("1.99", "1.44", "v1.47"), ("1.40", "1.12", nil),
            ("1.99", "1.48", nil), ("2.0", "2.0", nil),
        ] {
            let fake = FakeEngine(version: "{\"ApiVersion\":\"\(newest)\",\"MinAPIVersion\":\"\(oldest)\"}")
            let engine = DockerEngine(http: fake, socket: { "/nowhere" })
            guard let spoken else {
                await #expect(throws: DockerError.self) { try await engine.networks() }
                continue
            }
            #expect(try await engine.networks().isEmpty)
            #expect(fake.lastURL() == "http://docker/\(spoken)/networks")
        }
    }

    @Test("what an engine refuses is told in its own words, on one line")
    func refusals() async throws {
        let fake = FakeEngine(version: "{\"ApiVersion\":\"1.41\"}", status: 409, body: "{\"message\":\"in\\nuse\"}")
        let error = await #expect(throws: DockerError.self) {
            try await DockerEngine(http: fake, socket: { "/nowhere" }).send(
                "remove x", .delete, ["networks", "a/../b"])
        }
        #expect(error?.reason == .conflict && error?.message == "Docker, remove x: in use")
        #expect(fake.lastURL() == "http://docker/v1.41/networks/a%2F..%2Fb")
        #expect(try await DockerEngine(http: fake, socket: { "/nowhere" }).image("a/../../networks") == nil)
    }

    @Test("where no engine listens, the socket is named")
    func noSocket() async throws {
        let engine = DockerEngine(http: CurlClient()) { "/nowhere/docker.sock" }
        let error = await #expect(throws: DockerError.self) { try await engine.networks() }
        #expect(error?.reason == .unreachable && error?.message.contains("/nowhere/docker.sock") == true)
    }
}

/// Answers as told, whatever is asked after the version.
private final class FakeEngine: HTTPClient {
    private let version: String
    private let status: Int
    private let body: String
    private let url = Mutex("")

    init(version: String, status: Int = 200, body: String = "[]") {
        self.version = version
        self.status = status
        self.body = body
    }

    func lastURL() -> String { url.withLock { $0 } }

    func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        url.withLock { $0 = request.url }
        let isVersion = request.url.hasSuffix("/version")
        return HTTPResponse(
            status: isVersion ? 200 : status, headers: [], body: Array((isVersion ? version : body).utf8))
    }
}
