// SPDX-License-Identifier: GPL-2.0
/*
 * A guest for a VMM: it finds edu devices, has each of them read and write memory,
 * and says on the debug port whether what came is what went. Small enough for an
 * emulated processor inside of an emulated machine.
 *
 * It knows nothing of who emulates the devices, or where the IOMMU is: what it
 * tells them are the addresses of its own memory.
 */
#include <stdbool.h>
#include <stdint.h>

#define KIB (1U << 10)
#define MIB (1U << 20)

#define DEBUG_PORT 0xe9

#define PCI_CONFIG_ADDRESS 0xcf8
#define PCI_CONFIG_DATA 0xcfc
#define PCI_COMMAND 0x04
#define PCI_COMMAND_MEMORY_MASTER 0x06
#define PCI_BAR0 0x10
#define PCI_DEVICES 32

#define EDU 0x11e81234U
#define EDU_LIVENESS 0x04
#define EDU_DMA_SOURCE 0x80
#define EDU_DMA_TARGET 0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_COMMAND 0x98
#define EDU_DMA_START 1U
#define EDU_DMA_TO_MEMORY 2U
#define EDU_BUFFER 0x40000U
#define EDU_BUFFER_SIZE (4 * KIB)

/* The firmware, where it was made read-only. */
#define BIOS 0xf0000U

/* The VMM gives the guest less memory than this: nothing is there. */
#define NOWHERE 0x70000000U

/* How much memory there is from 16 MiB on, in pieces of 64 KiB, as the firmware is told. */
#define CMOS_INDEX 0x70
#define CMOS_DATA 0x71
#define CMOS_MEMORY 0x34

static inline void out8(uint16_t port, uint8_t value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void out32(uint16_t port, uint32_t value)
{
	asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t value;

	asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void say(const char *text)
{
	for (; *text; text++)
		out8(DEBUG_PORT, *text);
}

static void say_at(const char *what, uint32_t address, const char *verdict)
{
	int shift;

	say(what);
	for (shift = 28; shift >= 0; shift -= 4)
		out8(DEBUG_PORT, "0123456789abcdef"[address >> shift & 15]);
	say(verdict);
}

static uint32_t config_read(int device, int offset)
{
	out32(PCI_CONFIG_ADDRESS, 1U << 31 | device << 11 | offset);
	return in32(PCI_CONFIG_DATA);
}

static void config_write(int device, int offset, uint32_t value)
{
	out32(PCI_CONFIG_ADDRESS, 1U << 31 | device << 11 | offset);
	out32(PCI_CONFIG_DATA, value);
}

static void dma(volatile uint32_t *edu, uint32_t source, uint32_t target, uint32_t count,
		uint32_t direction)
{
	edu[EDU_DMA_SOURCE / 4] = source;
	edu[EDU_DMA_TARGET / 4] = target;
	edu[EDU_DMA_COUNT / 4] = count;
	edu[EDU_DMA_COMMAND / 4] = EDU_DMA_START | direction;
	while (edu[EDU_DMA_COMMAND / 4] & EDU_DMA_START)
		;
}

static void dma_from(volatile uint32_t *edu, uint32_t source)
{
	dma(edu, source, EDU_BUFFER, EDU_BUFFER_SIZE, 0);
}

static void dma_to(volatile uint32_t *edu, uint32_t target)
{
	dma(edu, EDU_BUFFER, target, EDU_BUFFER_SIZE, EDU_DMA_TO_MEMORY);
}

static void fill(uint32_t address, uint8_t first)
{
	volatile uint8_t *memory = (volatile uint8_t *)address;
	uint32_t i;

	for (i = 0; i < EDU_BUFFER_SIZE; i++)
		memory[i] = first + i * 7;
}

static bool is_filled(uint32_t address, uint8_t first)
{
	volatile uint8_t *memory = (volatile uint8_t *)address;
	uint32_t i;

	for (i = 0; i < EDU_BUFFER_SIZE; i++)
		if (memory[i] != (uint8_t)(first + i * 7))
			return false;
	return true;
}

/* By way of the device, memory gets from one place to another. */
static bool carries(volatile uint32_t *edu, uint32_t from, uint32_t to, uint8_t first)
{
	bool same;

	fill(from, first);
	fill(to, ~first);
	dma_from(edu, from);
	dma_to(edu, to);
	same = is_filled(to, first);
	say_at("DMA to ", to, same ? ": the same\n" : ": DIFFERS\n");
	return same;
}

/* The device can read what the firmware made read-only, but not write to it. */
static bool is_read_only(volatile uint32_t *edu, uint32_t address, uint32_t memory)
{
	volatile uint32_t *here = (volatile uint32_t *)address;
	volatile uint32_t *there = (volatile uint32_t *)memory;
	bool read = true, kept;
	uint32_t i;

	fill(memory, 4);
	dma_from(edu, address);
	dma_to(edu, memory);
	for (i = 0; i < EDU_BUFFER_SIZE / 4; i++)
		read &= here[i] == there[i];
	fill(memory, 5);
	dma_from(edu, memory);
	dma_to(edu, address);
	kept = !is_filled(address, 5);
	say_at("DMA from ", address, read ? ": the same\n" : ": DIFFERS\n");
	say_at("DMA to ", address, kept ? ": kept out\n" : ": NOT KEPT OUT\n");
	return read && kept;
}

static uint32_t cmos(uint8_t index)
{
	out8(CMOS_INDEX, index);
	return in8(CMOS_DATA);
}

static uint32_t memory_end(void)
{
	return 16 * MIB + (cmos(CMOS_MEMORY) | cmos(CMOS_MEMORY + 1) << 8) * 64 * KIB;
}

/* Conventional memory, where the firmware's tables leave room; and both ends of the rest. */
static bool test(volatile uint32_t *edu)
{
	bool good = carries(edu, 2 * MIB, 64 * KIB, 1);

	good &= carries(edu, 64 * KIB, 3 * MIB, 2);
	good &= carries(edu, 2 * MIB, memory_end() - MIB, 3);
	good &= is_read_only(edu, BIOS, 2 * MIB);
	/* Whether this gets anywhere, others can see: nothing here would change. */
	dma_to(edu, NOWHERE);
	say_at("DMA to ", NOWHERE, ": done\n");
	return good;
}

/* A register whose value is the opposite of what was written to it: by another device. */
static bool is_reached(volatile uint32_t *edu, volatile uint32_t *other, uint32_t memory)
{
	uint32_t liveness = (uintptr_t)&other[EDU_LIVENESS / 4];
	bool good;

	fill(memory, 6);
	dma_from(edu, memory);
	dma(edu, EDU_BUFFER, liveness, 4, EDU_DMA_TO_MEMORY);
	good = other[EDU_LIVENESS / 4] == ~*(volatile uint32_t *)memory;
	say(good ? "DMA between devices: good\n" : "DMA between devices: bad\n");
	return good;
}

/* Called by start.S. */
void main(void);
void main(void)
{
	volatile uint32_t *edu, *other = 0;
	int device, found = 0;
	bool good = true;

	for (device = 0; device < PCI_DEVICES; device++) {
		if (config_read(device, 0) != EDU)
			continue;
		found++;
		/* The firmware has given the registers their place. */
		edu = (volatile uint32_t *)(config_read(device, PCI_BAR0) & ~15U);
		config_write(device, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
		say_at("edu with its registers at ", (uintptr_t)edu, "\n");
		good &= test(edu);
		if (other)
			good &= is_reached(edu, other, 2 * MIB);
		other = edu;
	}
	say(found && good ? "verdict: good\n" : "verdict: bad\n");
}
