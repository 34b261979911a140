plugins {
    id("com.android.library")
    id("org.jetbrains.kotlin.android")
}

group = "org.albertedge"
version = "0.1.0"

android {
    namespace = "org.albertedge"
    compileSdk = 35

    defaultConfig {
        minSdk = 23
        consumerProguardFiles("src/main/proguard.txt")
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }

    kotlinOptions {
        jvmTarget = "11"
    }
}

dependencies {
    compileOnly("org.jetbrains.kotlinx:kotlinx-coroutines-core:1.10.2")
    // The app brings a runtime: this one or org.tensorflow's, which has the same classes.
    compileOnly("com.google.ai.edge.litert:litert:1.4.1")
    compileOnly("com.google.ai.edge.litert:litert-api:1.4.1")
    compileOnly("com.google.ai.edge.litert:litert-gpu:1.4.1")
    compileOnly("com.google.ai.edge.litert:litert-gpu-api:1.4.1")
}
