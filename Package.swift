// swift-tools-version: 6.2
import PackageDescription

/// One list of settings for every target of ours.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let cryptoExtras = Target.Dependency.product(name: "CryptoExtras", package: "swift-crypto")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

let package = Package(
    name: "drp",
    platforms: [.macOS(.v26)],
    products: [.executable(name: "drp", targets: ["drp"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", exact: "2.37.6"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", exact: "1.0.2"),
    ],
    targets: [
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl"),
        .systemLibrary(name: "CMongoC", pkgConfig: "libmongoc-1.0"),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd"),
        .target(
            name: "DRPKit",
            dependencies: ["CCurl", crypto, grdb, lifecycle, logging, subprocess, yams],
            swiftSettings: strict),
        .target(
            name: "Backup",
            dependencies: ["CMongoC", "CZstd", "DRPKit", crypto, cryptoExtras, logging, nioCore, nioPosix, nioSSL],
            swiftSettings: strict),
        .target(
            name: "Migrate",
            dependencies: ["Backup", "DRPKit", crypto, logging, nioCore, nioPosix, yams],
            swiftSettings: strict),
        .executableTarget(
            name: "drp",
            dependencies: ["Backup", "DRPKit", "Migrate", argumentParser, lifecycle, unixSignals, logging],
            swiftSettings: strict),
        .executableTarget(
            name: "Benchmarks", dependencies: ["Backup", "DRPKit", "Migrate"], path: "Benchmarks", swiftSettings: strict
        ),
        .target(
            name: "TestSupport",
            dependencies: ["Backup", "DRPKit", "Migrate"],
            path: "Tests/TestSupport",
            swiftSettings: strict),
        .testTarget(name: "ArchitectureTests", swiftSettings: strict),
        .testTarget(name: "DRPKitTests", dependencies: ["DRPKit", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "BackupTests", dependencies: ["Backup", "DRPKit", "TestSupport", crypto], swiftSettings: strict),
        .testTarget(
            name: "MigrateTests", dependencies: ["Backup", "DRPKit", "Migrate", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "drpTests", dependencies: ["Backup", "DRPKit", "Migrate", "TestSupport", "drp", argumentParser],
            swiftSettings: strict
        ),
    ]
)
