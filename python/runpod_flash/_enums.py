"""The values that resource fields take, imported when one is first asked for.

Where they name hardware or places of a vendor's cloud, they are labels here: kept, shown, and not acted on.
"""

from __future__ import annotations

from enum import Enum


class ServerlessScalerType(Enum):
    """What the autoscaler steers by: the time requests wait, or how many are in flight."""

    QUEUE_DELAY = "QUEUE_DELAY"
    REQUEST_COUNT = "REQUEST_COUNT"


class ServerlessType(Enum):
    """How an endpoint is called: by its queue, or directly over HTTP."""

    QB = "QB"
    LB = "LB"


class CudaVersion(Enum):
    """A version of CUDA."""

    V11_8 = "11.8"
    V12_0 = "12.0"
    V12_1 = "12.1"
    V12_2 = "12.2"
    V12_3 = "12.3"
    V12_4 = "12.4"
    V12_5 = "12.5"
    V12_6 = "12.6"
    V12_7 = "12.7"
    V12_8 = "12.8"
    V12_9 = "12.9"
    V13_0 = "13.0"


class CpuInstanceType(Enum):
    """A size of CPU instance: family, virtual CPUs, GB of memory."""

    CPU3G_1_4 = "cpu3g-1-4"
    CPU3G_2_8 = "cpu3g-2-8"
    CPU3G_4_16 = "cpu3g-4-16"
    CPU3G_8_32 = "cpu3g-8-32"
    CPU3C_1_2 = "cpu3c-1-2"
    CPU3C_2_4 = "cpu3c-2-4"
    CPU3C_4_8 = "cpu3c-4-8"
    CPU3C_8_16 = "cpu3c-8-16"
    CPU5C_1_2 = "cpu5c-1-2"
    CPU5C_2_4 = "cpu5c-2-4"
    CPU5C_4_8 = "cpu5c-4-8"
    CPU5C_8_16 = "cpu5c-8-16"

    @property
    def largest_disk_gb(self) -> int:
        """The largest container disk, in GB: 10 a virtual CPU, 15 on cpu5c."""
        family, cpus, _ = self.value.split("-")
        return int(cpus) * (15 if family == "cpu5c" else 10)


class DataCenter(str, Enum):
    """A place of the vendor's cloud."""

    US_CA_2 = "US-CA-2"
    US_IL_1 = "US-IL-1"
    US_KS_2 = "US-KS-2"
    US_MO_1 = "US-MO-1"
    US_MO_2 = "US-MO-2"
    US_NC_2 = "US-NC-2"
    US_NE_1 = "US-NE-1"
    US_WA_1 = "US-WA-1"
    EU_CZ_1 = "EU-CZ-1"
    EU_RO_1 = "EU-RO-1"
    EUR_NO_1 = "EUR-NO-1"

    @classmethod
    def from_string(cls, value: str) -> DataCenter:
        """The data centre of that name, in any case, with `-` or `_`. Raises ValueError for an unknown one."""
        try:
            return cls(value.strip().upper().replace("_", "-"))
        except ValueError:
            valid = ", ".join(item.value for item in cls)
            raise ValueError(f"Unknown datacenter '{value}'. Valid datacenters: {valid}") from None

    @classmethod
    def all(cls) -> list[DataCenter]:
        """Every data centre."""
        return list(cls)


#: Where CPU endpoints can be placed.
CPU_DATACENTERS: frozenset[DataCenter] = frozenset({DataCenter.EU_RO_1})


class GpuGroup(Enum):
    """A group of GPUs of one generation and memory size, in GB."""

    ANY = "any"
    ADA_24 = "ADA_24"
    ADA_32_PRO = "ADA_32_PRO"
    ADA_48_PRO = "ADA_48_PRO"
    ADA_80_PRO = "ADA_80_PRO"
    AMPERE_16 = "AMPERE_16"
    AMPERE_24 = "AMPERE_24"
    AMPERE_48 = "AMPERE_48"
    AMPERE_80 = "AMPERE_80"
    HOPPER_141 = "HOPPER_141"
    BLACKWELL_96 = "BLACKWELL_96"
    BLACKWELL_180 = "BLACKWELL_180"

    @classmethod
    def all(cls) -> list[GpuGroup]:
        """Every group but ANY."""
        return [item for item in cls if item is not cls.ANY]


class GpuType(Enum):
    """One model of GPU, by its maker's name."""

    ANY = "any"
    GEFORCE_RTX_4090 = "NVIDIA GeForce RTX 4090"
    GEFORCE_RTX_5090 = "NVIDIA GeForce RTX 5090"
    RTX_6000_ADA_GENERATION = "NVIDIA RTX 6000 Ada Generation"
    RTX_PRO_6000_BLACKWELL_SERVER_EDITION = "NVIDIA RTX PRO 6000 Blackwell Server Edition"
    RTX_PRO_6000_BLACKWELL_WORKSTATION_EDITION = "NVIDIA RTX PRO 6000 Blackwell Workstation Edition"
    RTX_PRO_6000_BLACKWELL_MAX_Q_WORKSTATION_EDITION = "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition"
    H100_80GB_HBM3 = "NVIDIA H100 80GB HBM3"
    RTX_A4000 = "NVIDIA RTX A4000"
    RTX_A4500 = "NVIDIA RTX A4500"
    RTX_4000_ADA_GENERATION = "NVIDIA RTX 4000 Ada Generation"
    RTX_2000_ADA_GENERATION = "NVIDIA RTX 2000 Ada Generation"
    RTX_A5000 = "NVIDIA RTX A5000"
    L4 = "NVIDIA L4"
    GEFORCE_RTX_3090 = "NVIDIA GeForce RTX 3090"
    A40 = "NVIDIA A40"
    RTX_A6000 = "NVIDIA RTX A6000"
    A100_80GB_PCIe = "NVIDIA A100 80GB PCIe"
    A100_SXM4_80GB = "NVIDIA A100-SXM4-80GB"
    H200 = "NVIDIA H200"
    B200 = "NVIDIA B200"

    @classmethod
    def all(cls) -> list[GpuType]:
        """Every model but ANY."""
        return [item for item in cls if item is not cls.ANY]
